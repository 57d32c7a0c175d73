"""In-context recall, taken apart: the task, the model and the measurements behind the book."""

__version__ = "0.1.0"
