"""How training is shown while it runs: a bar on a terminal, a line in a live kernel, nothing elsewhere.

A sweep shows a bar over the steps of all its runs, with the time left.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

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
        if progress["ended"]:
            bar.close()

    return report


def of_steps(steps: int) -> Callable[[int, float], None] | None:
    """A tqdm bar over training steps with the loss, on standard error, or None where that is not a terminal."""
    if not sys.stderr.isatty():
        return None
    bar = tqdm(total=steps, unit="step", smoothing=0.05)

    def report(step, loss):
        bar.set_description(f"loss {loss:.2f}", refresh=False)
        bar.update(step - bar.n)
        if step == steps:
            bar.close()

    return report


def of_sweep() -> Callable[[dict], None]:
    """A tqdm bar over all steps of a sweep, on standard error; elsewhere than on a terminal a line each minute."""
    bar = None

    def report(progress):
        nonlocal bar
        if bar is None:  # what was there before does not count for the rate
            bar = tqdm(
                initial=progress["step"],
                total=progress["steps"],
                smoothing=0.02,
                mininterval=1 if sys.stderr.isatty() else 60,
                bar_format="{desc} {percentage:3.0f}% of the steps, {elapsed} gone, about {remaining} left",
            )
        bar.total = progress["steps"]
        bar.set_description_str(f"{progress['finished']} of {progress['runs']} runs", refresh=False)
        bar.update(progress["step"] - bar.n)
        if progress["finished"] + progress["failed"] == progress["runs"]:
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
        if progress["ended"]:
            handle.update(Markdown(f"trained {step:,} steps"))
        elif time.monotonic() - shown > every:
            shown = time.monotonic()
            bar = "▓" * round(20 * step / steps) + "░" * round(20 * (1 - step / steps))
            handle.update(Markdown(f"{bar} {step:,}/{steps:,}, {progress['left']:.0f} s left · {describe(progress)}"))

    return report
