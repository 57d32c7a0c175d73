"""Lists of runs for `python -m recall sweep NAME`, one module each, with what they are for and how they decide."""
