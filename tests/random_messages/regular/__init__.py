"""Random messages on graphs whose edges are a formula: the forms that dense rules know, and forms near them.

Their seeds begin at `FIRST`, so that the others keep their programs.
"""

from tests.random_messages.regular.generate import FIRST, KINDS, random_regular_case

__all__ = ["FIRST", "KINDS", "random_regular_case"]
