"""Weights that other libraries download by name, and these networks load from files."""

from __future__ import annotations


def no_download(**weights: object) -> None:
    """Require that no argument names weights to download.

    Raises:
        ValueError: one does.

    >>> no_download(weights="DEFAULT")
    Traceback (most recent call last):
    ValueError: weights is 'DEFAULT', but must be None: load_state_dict takes a file's, none is downloaded.
    """
    for name, value in weights.items():
        if value is not None:
            raise ValueError(
                f"{name} is {value!r}, but must be None: load_state_dict takes a file's, none is downloaded."
            )
