"""Lists of runs for `python -m recall sweep NAME`, one module each, with what they are for and how they decide."""

from __future__ import annotations

import importlib.util
import pkgutil
import sys
from pathlib import Path

from recall.config import check, to_json
from recall.settings import RunConfig, from_json


def named() -> list[str]:
    """Names of the sweeps that come with the package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> list[RunConfig]:
    """The runs of a named sweep, or of a Python file; ValueError if it is neither or holds a run twice."""
    path = Path(name)
    if name in named():
        module = importlib.import_module(f"recall.sweeps.{name}")
    else:
        check("sweep", path.suffix == ".py" and path.is_file(), f"one of {', '.join(named())}, or a Python file", name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ValueError(
                f"sweep must be a Python file that runs: {name}: {type(error).__name__}: {error}"
            ) from error
    check("sweep", hasattr(module, "configs"), "a module with configs() -> list[RunConfig]", name)
    try:
        configs = [from_json(to_json(config)) for config in module.configs()]  # as a worker will read them
    except Exception as error:
        raise ValueError(
            f"sweep must have configs() -> list[RunConfig]: {name}: {type(error).__name__}: {error}"
        ) from error
    check("sweep", len({config.name for config in configs}) == len(configs) > 0, "a list of different runs", name)
    return configs
