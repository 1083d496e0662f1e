"""Random messages: a seeded grammar, and the comparison of every backend with eager on what it says.

    python -m tests.random_messages --seeds 0:10000 --jobs 2     many seeds; a crash ends no more than its own
    python -m tests.random_messages --show 17                    the program of one seed, as Python
    python -m tests.random_messages --shrink 17                  the shortest program that still fails

A seed gives the same program on every machine. A failure prints the program, which runs as it stands. Seeds
from 1,000,000 on give messages on graphs whose edges are a formula, for the dense rules; with `--rules` the
command counts which ran by one. From 2,000,000 on they give updates, for the passes over
what a node becomes.
"""

from tests.random_messages.case import Case
from tests.random_messages.check import RefusedError, check
from tests.random_messages.generate import random_case

__all__ = ["Case", "RefusedError", "check", "random_case"]
