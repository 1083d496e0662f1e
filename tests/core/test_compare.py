"""The comparison that all other tests rest on raises when it should."""

import pytest
import torch

from tests.compare import assert_close, assert_same

x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def test_equal_functions_pass() -> None:
    assert_same(lambda x: x * x, lambda x: x.pow(2), [x])


def test_a_wrong_output_raises() -> None:
    with pytest.raises(AssertionError, match=r"output differs by up to 1 .* entry \[0\] is 2, theirs is 1"):
        assert_same(lambda x: x + 1, lambda x: x, [x])


def test_a_wrong_gradient_raises_and_is_named() -> None:
    with pytest.raises(AssertionError, match="gradient of weight differs"):
        assert_same(lambda x: x.detach() * 1.0, lambda x: x * 1.0, {"weight": x})


def test_a_wrong_gradient_of_a_parameter_raises_and_is_named() -> None:
    ours, theirs = torch.nn.Linear(3, 2).double(), torch.nn.Linear(3, 2).double()
    theirs.load_state_dict(ours.state_dict())
    assert_same(ours, theirs, [x])
    ours.bias.requires_grad_(False)
    with pytest.raises(AssertionError, match=r"only theirs has .*gradient of bias"):
        assert_same(ours, theirs, [x])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1.0 + 1e-9])
def test_a_bad_entry_raises(bad: float) -> None:
    with pytest.raises(AssertionError, match="output differs"):
        assert_close(torch.tensor([bad], dtype=torch.float64), torch.ones(1, dtype=torch.float64))


def test_another_shape_or_type_raises() -> None:
    with pytest.raises(AssertionError, match="shape"):
        assert_close(x, x[None])
    with pytest.raises(AssertionError, match="type"):
        assert_close(x, x.float())


def test_a_gradient_that_does_not_exist_counts_as_zero() -> None:
    assert_same(lambda x, y: x * 1.0, lambda x, y: x + 0 * y, [x, x.flip(0)])


def test_non_contiguous_inputs_stay_so() -> None:
    assert_same(
        lambda x: torch.tensor(x.is_contiguous()), lambda x: torch.tensor(False), [torch.ones(3, 4)[:, ::2]]
    )
