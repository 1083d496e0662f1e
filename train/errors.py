"""The error that ends a run with a sentence instead of a traceback."""


class RunError(RuntimeError):
    """A run that cannot start or go on, and why, in one sentence."""
