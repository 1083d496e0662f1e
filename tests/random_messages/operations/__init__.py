"""The operations of the grammar; importing this package fills the list of rules."""

from tests.random_messages.operations import (  # noqa: F401
    binary,
    heads,
    inplace,
    integers,
    maps,
    reductions,
    shapes,
    shared,
    sizes,
    unary,
)
