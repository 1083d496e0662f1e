"""Errors that end a run with a sentence instead of a traceback."""


class RunError(RuntimeError):
    """A run that cannot start or go on, and why, in one sentence."""


class DivergedError(RunError):
    """A training whose numbers are no longer finite."""


class Stopped(KeyboardInterrupt):
    """A run that a signal of the system stopped, after its state was written; as Ctrl-C, with a number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is used up; PyTorch has no type of error for that on the CPU.

    >>> is_out_of_memory(MemoryError())
    True
    """
    import torch  # errors are known without it

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
