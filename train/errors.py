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

    Of its libraries one says so when an operation is prepared, and the loader when a module is imported.

    >>> is_out_of_memory(MemoryError())
    True
    """
    import torch  # errors are known without it

    said = (
        "can't allocate memory",
        "could not create a primitive",
        "failed to map segment",
        "std::bad_alloc",
    )
    is_of_its_type = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_of_its_type or any(words in str(error) for words in said)
