import math

import pytest
import torch
from torch.nn import functional

from neuro.errors import UsageError
from neuro.graph import negative_sampling_loss
from neuro.graph.objective import negative_weights

LOGITS = torch.tensor([[0.3, -1.0, 2.0], [-0.5, 0.0, 0.7]], dtype=torch.float64)


def bce(logit: float, target: float) -> float:
    truth = 1 / (1 + math.exp(-logit))
    return -(target * math.log(truth) + (1 - target) * math.log(1 - truth))


@pytest.mark.parametrize("temperature", [None, 0.5, 1.0])
def test_loss_by_hand(temperature):
    rows = []
    for positive, *negatives in LOGITS.tolist():
        if temperature is None:
            weights = [1 / len(negatives)] * len(negatives)
        else:
            powers = [math.exp(logit / temperature) for logit in negatives]
            weights = [power / sum(powers) for power in powers]
        wrong = sum(w * bce(x, 0) for w, x in zip(weights, negatives, strict=True))
        rows.append((bce(positive, 1) + wrong) / 2)
    loss = negative_sampling_loss(LOGITS, temperature=temperature)
    assert loss.item() == pytest.approx(sum(rows) / 2, rel=1e-12)


def test_weights_carry_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    negative_sampling_loss(logits, temperature=0.5).backward()
    fixed = LOGITS.clone().requires_grad_()
    targets = torch.tensor([[1.0, 0.0, 0.0]] * 2, dtype=torch.float64)
    weights = torch.cat(
        [torch.ones(2, 1, dtype=torch.float64), negative_weights(LOGITS[:, 1:], 0.5)], dim=1
    )
    functional.binary_cross_entropy_with_logits(
        fixed, targets, weight=weights / 4, reduction="sum"
    ).backward()
    torch.testing.assert_close(logits.grad, fixed.grad)


def test_a_lower_temperature_gives_the_hardest_negative_more_weight():
    logits = torch.tensor([[0.0, 1.0, 3.0]])
    cold, warm = negative_weights(logits, 0.5), negative_weights(logits, 2.0)
    assert cold[0, 2] > warm[0, 2] > 1 / 3
    assert cold.sum().item() == pytest.approx(1)
    assert negative_weights(logits, None).tolist() == [[pytest.approx(1 / 3)] * 3]


def test_large_logits_stay_finite():
    loss = negative_sampling_loss(torch.tensor([[-1e4, 1e4]]), temperature=1.0)
    assert loss.item() == 1e4


def test_wrong_input_is_refused():
    with pytest.raises(UsageError, match="temperature"):
        negative_sampling_loss(LOGITS, temperature=0.0)
    for shape in [(3,), (3, 1), (0, 4)]:
        with pytest.raises(UsageError, match="logits must be"):
            negative_sampling_loss(torch.zeros(shape))
