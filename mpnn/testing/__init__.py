"""The laws that every layer obeys, for layers of any author.

`check_layer(MyConv(8, 8))` puts a layer through all of them. With pytest each may be a test:

    @pytest.mark.parametrize("law", mpnn.testing.laws(), ids=str)
    def test_my_layer(law):
        check_layer(MyConv(8, 8), laws=[law])

`assert_same` and `assert_close` are the comparisons that they rest on.
"""

from mpnn.testing.check import check_layer
from mpnn.testing.compare import assert_close, assert_same
from mpnn.testing.laws import LAWS, Law, laws
from mpnn.testing.subject import Data, EdgeInput, Subject, carrying, sample

__all__ = [
    "LAWS",
    "Data",
    "EdgeInput",
    "Law",
    "Subject",
    "assert_close",
    "assert_same",
    "carrying",
    "check_layer",
    "laws",
    "sample",
]
