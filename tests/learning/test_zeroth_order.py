"""Single-point zeroth order: noise, pairs, unbiasedness, variance."""

from itertools import pairwise
from math import sqrt

import pytest
import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import Linear, Network, Node, Spiking
from neuro.learning import CreditProbe, build_rule
from neuro.learning.opzo import OPZOOptions
from neuro.learning.ottt import OTTTOptions
from neuro.learning.zeroth_order import ZeroOrderOptions
from neuro.models import MLP, build_model
from neuro.neurons import LIF

PERTURBED = {"zo": ZeroOrderOptions, "opzo": OPZOOptions}
ALPHA = 0.2


def spied(spy, hidden: int = 6) -> Network:
    """One hidden layer without scale, whose read-out notes what arrives."""
    torch.manual_seed(0)
    nodes = [
        Node("first", Linear(3, hidden)),
        Node("lif", Spiking(LIF(threshold=0.5))),
        Node("readout", spy(hidden, 2)),
    ]
    return Network(nodes, (3,)).double()


def watched(spy, options, timesteps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return spikes, noise and traces ``(T, B, N)`` of a batch under Rademacher noise.

    The noise is +-alpha with alpha < 1/2, so what arrives tells both apart.
    """
    network = spied(spy)
    generator = torch.Generator().manual_seed(3)
    rule = build_rule(network, options, generator=generator).double()
    inputs = 2 * torch.randn(timesteps, 8, 3, generator=generator, dtype=torch.float64)
    targets = torch.randint(2, (8,), generator=generator)
    rule.learn(iter(inputs), timesteps, targets, generator=generator)
    readout = network.nodes["readout"]
    arrived, traces = torch.stack(readout.arrived), torch.stack(readout.factors)
    spikes = (arrived > 0.5).double()
    noise = (arrived - spikes) / ALPHA
    assert 0 < spikes.mean() < 1
    torch.testing.assert_close(noise.abs(), torch.ones_like(noise))
    return spikes, noise.round(), traces


@pytest.mark.parametrize("name", PERTURBED)
@pytest.mark.parametrize("timesteps", [4, 5])
def test_noise_of_a_pair_is_opposite_and_an_odd_last_step_draws_its_own(
    name: str, timesteps: int, spy
) -> None:
    """A4: z[t+1] = -z[t] within a pair."""
    options = PERTURBED[name](noise="rademacher", alpha=ALPHA)
    _, noise, _ = watched(spy, options, timesteps)
    for first in range(0, timesteps - 1, 2):
        assert torch.equal(noise[first + 1], -noise[first])
    firsts = noise[::2]
    for earlier, later in pairwise(firsts):
        assert not torch.equal(later, earlier)
        assert not torch.equal(later, -earlier)


@pytest.mark.parametrize("name", PERTURBED)
def test_without_pairs_every_step_draws_its_own_noise(name: str, spy) -> None:
    options = PERTURBED[name](noise="rademacher", alpha=ALPHA, antithetic=False)
    _, noise, _ = watched(spy, options, 4)
    for earlier in range(4):
        for later in range(earlier + 1, 4):
            # 48 signs: as many agree as not, within four standard deviations of 48 tosses.
            assert abs((noise[earlier] * noise[later]).sum().item()) < 4 * sqrt(48)


@pytest.mark.parametrize("name", PERTURBED)
def test_noise_never_enters_the_trace(name: str, spy) -> None:
    """A3: the presynaptic factor is the explicit sum of clean spikes."""
    options = PERTURBED[name](noise="rademacher", alpha=ALPHA)
    spikes, _, traces = watched(spy, options, 5)
    for t in range(5):
        explicit = sum(0.5 ** (t - k) * spikes[k] for k in range(t + 1))
        torch.testing.assert_close(traces[t], explicit)


@pytest.mark.parametrize("name", PERTURBED)
@pytest.mark.parametrize("site", ["post", "pre"])
def test_firing_rates_count_spikes_and_not_noise(name: str, site: str, spy) -> None:
    network = spied(spy)
    generator = torch.Generator().manual_seed(3)
    options = PERTURBED[name](noise="rademacher", alpha=ALPHA, noise_at=site)
    rule = build_rule(network, options, generator=generator).double()
    inputs = 2 * torch.randn(5, 8, 3, generator=generator, dtype=torch.float64)
    outcome = rule.learn(iter(inputs), 5, torch.zeros(8).long(), generator=generator)
    spikes = (torch.stack(network.nodes["readout"].arrived) > 0.5).double()
    assert float(outcome.firing_rates["lif"]) == pytest.approx(float(spikes.mean()))


@pytest.mark.parametrize("name", PERTURBED)
def test_noise_before_the_threshold_leaves_spikes_binary(name: str, spy) -> None:
    network = spied(spy)
    options = PERTURBED[name](noise_at="pre", alpha=0.4)
    generator = torch.Generator().manual_seed(3)
    rule = build_rule(network, options, generator=generator).double()
    x = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    rule.learn([x] * 2, 2, torch.zeros(64).long(), generator=generator)
    (first, *_) = network.nodes["readout"].arrived
    assert set(first.unique().tolist()) == {0.0, 1.0}
    clean = (network.nodes["first"](x) >= 0.5).double()
    changed = (first != clean).double().mean().item()
    assert 0.05 < changed < 0.5  # some spikes are added, some taken away


def mean_credit(site: str, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean credit over copies of one sample, its standard error, and the exact credit."""
    torch.manual_seed(0)
    network = build_model(MLP(hidden=(5,)), (3,), 3).double()
    with torch.no_grad():
        network.nodes["readout"].weight.normal_()
    options = ZeroOrderOptions(alpha=0.5, noise_at=site, mse_weight=1.0, antithetic=False)
    rule = build_rule(network, options, generator=torch.Generator()).double()
    rule.probe = CreditProbe.empty()
    x = torch.randn(1, 3, dtype=torch.float64).expand(batch, 3)
    generator = torch.Generator().manual_seed(1)
    rule.learn([x], 1, torch.ones(batch).long(), generator=generator)
    assigned = rule.probe.assigned[0]["lif1"] * batch
    exact = rule.probe.exact[0]["lif1"] * batch
    return assigned.mean(0), assigned.std(0) / sqrt(batch), exact.mean(0)


def test_credit_is_unbiased_for_the_gradient_of_the_smoothed_loss() -> None:
    """E[L z / alpha] = dL/ds: exactly so for a squared loss of logits linear in the noise."""
    found, error, exact = mean_credit("post", 40_000)
    assert ((found - exact).abs() < 4 * error).all()
    assert (exact.abs() > 8 * error).any()  # the signal stands clear of the noise


def test_gradient_is_credit_times_surrogate_and_trace(dense_network, batch, learn) -> None:
    """With the credit it got handed to OTTT's update rule, the same gradients follow."""
    inputs, targets = batch(dense_network, 4)
    learnt = learn(dense_network, ZeroOrderOptions(alpha=1e-9), inputs, targets)
    readout = learn(dense_network, OTTTOptions(), inputs, targets)
    for name in ("nodes.readout.weight", "nodes.readout.bias"):
        torch.testing.assert_close(
            learnt.gradients[name], readout.gradients[name], rtol=1e-6, atol=1e-9
        )


def test_zeroth_order_varies_by_orders_of_magnitude_more_than_opzo(digits) -> None:
    """A14: the variance of a layer's gradient over batches ranks zo >> opzo ~ bp.

    Scales are made comparable: OPZO keeps 1/alpha and corrects the bias of its matrices, which
    first settle at fixed weights.
    """
    network = build_model(MLP(hidden=(64, 64)), (1, 8, 8), 10, torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.nodes["readout"].weight.mul_(5.0)
    opzo = OPZOOptions(inverse_alpha="keep", bias_correction=True, feedback_momentum=0.999)
    variances: dict[str, dict[str, float]] = {}
    for name, options, settling in [
        ("bp", OTTTOptions(), 0),
        ("opzo", opzo, 150),
        ("zo", ZeroOrderOptions(), 0),
    ]:
        generator = torch.Generator().manual_seed(2)
        rule = build_rule(network, options, generator=generator)
        seen: dict[str, list[Tensor]] = {"linear1": [], "linear2": []}
        for index in range(settling + 30):
            chosen = torch.randint(len(digits.train), (64,), generator=generator)
            network.zero_grad()
            rule.learn(
                [digits.train[chosen]] * 6, 6, digits.train_targets[chosen], generator=generator
            )
            if index >= settling:
                for layer, gradients in seen.items():
                    gradients.append(network.nodes[layer].weight.grad.clone())
        variances[name] = {
            layer: torch.stack(gradients).var(0).sum().item() for layer, gradients in seen.items()
        }
    for layer in ("linear1", "linear2"):
        bp, ours, zo = (variances[name][layer] for name in ("bp", "opzo", "zo"))
        assert zo > 100 * bp, variances
        assert zo > 30 * ours, variances
        assert ours < 5 * bp, variances


@pytest.mark.parametrize("name", PERTURBED)
@pytest.mark.parametrize("alpha", [0.0, -0.1])
def test_a_strength_that_is_not_positive_is_refused(name: str, alpha: float, dense_network) -> None:
    with pytest.raises(UsageError, match="alpha must be > 0"):
        build_rule(dense_network, PERTURBED[name](alpha=alpha), generator=torch.Generator())


@pytest.mark.parametrize(
    ("field", "wrong", "meant"),
    [("noise", "gausian", "gaussian"), ("noise_at", "prae", "pre"), ("update", "onlin", "online")],
)
def test_a_misspelt_choice_says_which_is_nearest(field: str, wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"{field}.*'{wrong}'.*Did you mean \"{meant}\""):
        ZeroOrderOptions(**{field: wrong})
