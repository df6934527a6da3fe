"""Training gives the same with and without compiled kernels."""

import pytest
import torch
from torch import Tensor

from neuro.learning import RULES, build_rule
from neuro.models import MLP, Conv5, build_model

CASES = {name: {} for name in RULES} | {
    "opzo, delta, by pairs": {"feedback_rule": "delta", "feedback_update": "per_pair"},
    "opzo, shared feedback, sphere": {"noise": "sphere", "feedback_grid": 2},
    "opzo, local, before firing": {"noise_at": "pre", "local_learning": True},
}


def train(name: str, model: str, images: bool) -> tuple[list[float], list[Tensor]]:
    """Return the loss and every layer's firing rate at every step of a short training."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, 16, 16) if model == "conv5" else (30,)
    options = Conv5(width=1 / 32) if model == "conv5" else MLP(hidden=(40, 30))
    network = build_model(options, shape, 10, generator).double()
    rule_options = RULES[name.split(",")[0]].Options(**CASES[name])
    rule = build_rule(network, rule_options, generator=generator).double()
    optimiser = torch.optim.Adam(rule.parameter_groups(3e-3))
    losses, rates = [], []
    for _ in range(6):
        x = torch.randn((12, *shape), generator=generator, dtype=torch.float64) * 2
        frames = [x] * 5 if images else [(x.roll(k, 0) > 3).double() for k in range(5)]
        targets = torch.randint(10, (12,), generator=generator)
        optimiser.zero_grad()
        outcome = rule.learn(iter(frames), 5, targets, generator=generator)
        optimiser.step()
        losses.append(float(outcome.loss))
        rates += outcome.firing_rates.values()
    return losses, rates


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("model", ["mlp", "conv5"])
def test_spikes_are_identical_and_loss_curves_equal(name, model, monkeypatch):
    images = name != "ottt"  # a rule without noise also sees frames with few events
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    losses, rates = train(name, model, images)
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    found, others = train(name, model, images)
    assert found == pytest.approx(losses, rel=1e-9)
    assert all(torch.equal(one, other) for one, other in zip(rates, others, strict=True))
    assert sum(float(rate) for rate in rates) > 0
