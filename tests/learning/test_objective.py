"""The loss of a step and its error."""

import math

import pytest
import torch
from torch.nn import functional

from neuro.learning.objective import Objective


def test_loss_by_hand() -> None:
    logits, targets = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([0])
    # softmax = (1/4, 3/4); CE = ln 4; MSE = (1 + ln(3)^2) / 2.
    squares = (1 + math.log(3.0) ** 2) / 2
    found = Objective(0.05, 4).losses(logits, targets)
    assert found.item() == pytest.approx((0.95 * math.log(4.0) + 0.05 * squares) / 4)


def test_error_by_hand() -> None:
    logits, targets = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([0])
    found = Objective(0.05, 4).errors(logits, targets)
    first = (0.95 * (0.25 - 1) + 0.05 * (0.0 - 1.0)) / 4
    second = (0.95 * 0.75 + 0.05 * math.log(3.0)) / 4
    torch.testing.assert_close(found, torch.tensor([[first, second]]))


@pytest.mark.parametrize("mse_weight", [0.0, 0.05, 1.0])
def test_error_is_the_gradient_of_each_samples_loss(mse_weight: float) -> None:
    torch.manual_seed(0)
    objective = Objective(mse_weight, 3)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(5, (6,))
    (expected,) = torch.autograd.grad(objective.losses(logits, targets).sum(), logits)
    torch.testing.assert_close(objective.errors(logits.detach(), targets), expected)


def test_loss_mixes_cross_entropy_and_mean_squared_error_over_time() -> None:
    torch.manual_seed(1)
    logits, targets = torch.randn(7, 4), torch.randint(4, (7,))
    entropy = functional.cross_entropy(logits, targets)
    squares = functional.mse_loss(logits, functional.one_hot(targets, 4).float())
    found = Objective(0.3, 5).losses(logits, targets).mean()
    torch.testing.assert_close(found, (0.7 * entropy + 0.3 * squares) / 5)


def test_huge_logits_stay_finite() -> None:
    logits, targets = torch.tensor([[1e4, -1e4]]), torch.tensor([1])
    objective = Objective(0.0, 1)
    assert objective.losses(logits, targets).item() == pytest.approx(2e4)
    assert objective.errors(logits, targets).tolist() == [[1.0, -1.0]]
