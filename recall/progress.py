"""How a training run is shown while it runs: a bar on a terminal, a line in a live kernel, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Callable

from tqdm import tqdm


def describe(progress: dict) -> str:
    """`loss 0.31 · N=2: 1-after 0.24, 2-after 0.20 · …`, from what `training.train` reports."""
    parts = [f"loss {progress['loss']:.2f}"]
    errors = progress["errors"]
    for systems in sorted({systems for systems, _ in errors} - {1} or {1}):
        parts.append(f"N={systems}: 1-after {errors[systems, 1]:.2f}, 2-after {errors[systems, 2]:.2f}")
    return " · ".join(parts)


def on_terminal() -> Callable[[dict], None] | None:
    """A tqdm bar on standard error, or None where that is not a terminal."""
    if not sys.stderr.isatty():
        return None
    bar = tqdm(unit="step", smoothing=0.05)

    def report(progress):
        bar.total = progress["steps"]
        bar.set_description(describe(progress), refresh=False)
        bar.update(progress["step"] - bar.n)
        if progress["step"] == progress["steps"]:
            bar.close()

    return report


def in_notebook(every: float = 1.0) -> Callable[[dict], None]:
    """One output line, rewritten about every `every` seconds; at the end it holds no timing, so a stored notebook
    does not change from run to run."""
    from IPython.display import Markdown, display

    handle, shown = None, 0.0

    def report(progress):
        nonlocal handle, shown
        step, steps = progress["step"], progress["steps"]
        handle = handle or display(Markdown("starting"), display_id=True)
        if step == steps:
            handle.update(Markdown(f"trained {steps:,} steps"))
        elif time.monotonic() - shown > every:
            shown = time.monotonic()
            bar = "▓" * round(20 * step / steps) + "░" * round(20 * (1 - step / steps))
            handle.update(Markdown(f"{bar} {step:,}/{steps:,}, {progress['left']:.0f} s left · {describe(progress)}"))

    return report
