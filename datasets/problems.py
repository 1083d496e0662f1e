"""What is wrong with tables, all of it at once, each with its cure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from mpnn.datasets.errors import DataError


class ProblemsError(DataError):
    """Several things are wrong: a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n  - ".join([f"there are {len(problems)} problems:", *problems]))
        self.problems = problems


class Problems(list[str]):
    """Sentences, gathered while reading goes on.

    >>> problems = Problems()
    >>> with problems.gather():
    ...     raise DataError("one thing is wrong")
    >>> problems
    ['one thing is wrong']
    """

    @contextmanager
    def gather(self, before: str = "") -> Iterator[None]:
        """Keep the sentences of a DataError, with these words before each, and go on behind the block."""
        try:
            yield
        except ProblemsError as error:
            self.extend(before + problem for problem in error.problems)
        except DataError as error:
            self.append(before + str(error))

    def raise_all(self) -> None:
        """Raise one DataError that names every problem; nothing if there is none."""
        raise_all(self)


def raise_all(problems: Iterable[str]) -> None:
    """Raise one DataError that names every problem, each on a line; nothing if there is none."""
    different = list(dict.fromkeys(problems))
    if len(different) == 1:
        raise DataError(different[0])
    if different:
        raise ProblemsError(different)


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that asks whether another name was meant; nothing if none is alike.

    >>> nearest("Agee", ["height", "age"])
    ": did you mean 'age'?"
    """
    by_lower = {one.lower(): one for one in names}
    found = get_close_matches(name.lower(), by_lower, 1)
    return f": did you mean {by_lower[found[0]]!r}?" if found else ""
