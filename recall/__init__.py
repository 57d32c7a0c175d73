"""In-context recall, taken apart: the task, the model and the measurements behind the book.

    import recall

    config = recall.preset("fast-2", dimension=3, labels=4, seed=1)
    run = recall.train(config, "_runs/mine")
    recall.evaluate(run, systems=4)

Each name is imported when it is first used, so that `import recall` costs nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "TaskConfig": "task",
    "Task": "task",
    "needle_prompts": "needle",
    "GPTConfig": "model",
    "GPT": "model",
    "preset": "settings",
    "vary": "settings",
    "train": "training",
    "load": "runs",
    "evaluate": "training",
    "Explorer": "explorer",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'recall' has no attribute {name!r}")
    return getattr(import_module(f"recall.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
