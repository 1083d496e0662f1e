"""Recognises messages on regular topologies, and runs them on the dense kernels that are equal to them."""

from mpnn.lowering.find import explain, lower, lower_recurrence
from mpnn.lowering.rule import Example, NoMatchError, Rule
from mpnn.lowering.rules import RULES

__all__ = ["RULES", "Example", "NoMatchError", "Rule", "explain", "lower", "lower_recurrence"]
