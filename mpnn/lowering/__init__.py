"""Messages on regular topologies, recognised and given to the kernels made for them."""

from mpnn.lowering.find import explain, lower, lower_recurrence
from mpnn.lowering.rule import Example, NoMatchError, Rule
from mpnn.lowering.rules import RULES

__all__ = ["RULES", "Example", "NoMatchError", "Rule", "explain", "lower", "lower_recurrence"]
