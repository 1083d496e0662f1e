"""One comparison for all tests: that of `mpnn.testing`."""

from mpnn.testing import assert_close, assert_same

__all__ = ["assert_close", "assert_same"]
