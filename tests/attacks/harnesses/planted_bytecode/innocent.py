"""Innocent: raises, unless compiled code in __pycache__ runs instead of it."""

raise ImportError("the source, as it should be")
