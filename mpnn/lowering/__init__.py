"""Recognises messages on regular topologies, and runs them on the dense kernels that are equal to them."""

from mpnn.lowering.find import explain, lower
from mpnn.lowering.rule import Example, NoMatchError, Rule
from mpnn.lowering.rules import RULES, rules_for

__all__ = ["RULES", "Example", "NoMatchError", "Rule", "explain", "lower", "rules_for"]
