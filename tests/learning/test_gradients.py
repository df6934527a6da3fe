"""Where gradients gather."""

import pytest
import torch

from neuro.layers import Linear, Network, Node, ScaledWSLinear, Spiking
from neuro.learning import gradients
from neuro.learning.credit import SentBack, SentThrough
from neuro.learning.gradients import GradientSums, add_gradient
from neuro.neurons import LIF


def network() -> Network:
    torch.manual_seed(0)
    return Network(
        [
            Node("first", ScaledWSLinear(4, 6)),
            Node("lif", Spiking(LIF(), scale=2.0)),
            Node("readout", Linear(6, 3)),
        ],
        (4,),
    ).double()


def draws(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_sums_over_steps_reach_weight_bias_and_gain() -> None:
    net = network()
    first = net.nodes["first"]
    steps = [(draws(5, 6), draws(5, 4)) for _ in range(3)]
    current = sum((delta * first(activity)).sum() for delta, activity in steps)
    expected = torch.autograd.grad(current, [first.weight, first.gain, first.bias])
    sums = GradientSums(net)
    for delta, activity in steps:
        sums.add("first", delta, activity)
    sums.deposit()
    for parameter, truth in zip((first.weight, first.gain, first.bias), expected, strict=True):
        torch.testing.assert_close(parameter.grad, truth)


def test_spikes_come_without_the_scale_of_their_layer_which_is_applied_once() -> None:
    net = network()
    delta, spikes = draws(5, 3), (draws(5, 6) > 0).double()
    sums = GradientSums(net)
    sums.add("readout", delta, spikes)
    sums.deposit()
    torch.testing.assert_close(net.nodes["readout"].weight.grad, delta.t() @ (2.0 * spikes))


def test_an_activity_that_comes_again_gives_the_same_sum() -> None:
    same, other = draws(5, 4), draws(5, 4)
    order = [same, same, other, same, same]
    deltas = [draws(5, 6) for _ in order]
    found = []
    for may_wait in (True, False):
        net = network()
        sums = GradientSums(net)
        for delta, activity in zip(deltas, order, strict=True):
            sums.add("first", delta, activity, may_wait=may_wait)
        sums.deposit()
        found.append(net.nodes["first"].weight.grad)
    torch.testing.assert_close(found[0], found[1])


def test_errors_sent_back_are_the_same_written_out() -> None:
    for same in (True, False):
        found = []
        activities = [draws(5, 4)] * 3 if same else list(draws(3, 5, 4))
        factors, errors, projection = draws(3, 5, 6), draws(3, 5, 2), draws(2, 6)
        for written in (True, False):
            for may_wait in (True, False):
                net = network()
                sums = GradientSums(net)
                for error, factor, activity in zip(errors, factors, activities, strict=True):
                    sent = SentThrough(SentBack(projection, error, (6,)), factor, 0.5)
                    sums.add(
                        "first",
                        sent.written_out() if written else sent,
                        activity,
                        may_wait=may_wait,
                    )
                sums.deposit()
                found.append((net.nodes["first"].weight.grad, net.nodes["first"].bias.grad))
        for other in found[1:]:
            torch.testing.assert_close(found[0], other)


def test_deposits_add_up_and_start_again_from_zero() -> None:
    net = network()
    delta, activity = draws(5, 3), draws(5, 6)
    sums = GradientSums(net)
    sums.add("readout", delta, activity)
    sums.deposit()
    once = net.nodes["readout"].bias.grad.clone()
    sums.deposit()
    assert torch.equal(net.nodes["readout"].bias.grad, once)
    sums.add("readout", delta, activity)
    sums.deposit()
    torch.testing.assert_close(net.nodes["readout"].bias.grad, 2 * once)


def test_errors_given_are_left_as_they_were() -> None:
    net = network()
    delta, activity = draws(5, 6), draws(5, 4)
    kept = delta.clone(), activity.clone()
    sums = GradientSums(net)
    for _ in range(3):
        sums.add("first", delta, activity, may_wait=True)
    sums.deposit()
    assert torch.equal(delta, kept[0])
    assert torch.equal(activity, kept[1])


def test_refreshing_takes_up_changed_weights() -> None:
    net = network()
    sums = GradientSums(net)
    with torch.no_grad():
        net.nodes["first"].gain.fill_(0.0)
    assert sums.weight("first").abs().sum() > 0
    sums.refresh()
    assert sums.weight("first").abs().sum() == 0
    assert not sums.weight("first").requires_grad


def test_frozen_parameters_get_no_gradient() -> None:
    net = network()
    net.nodes["readout"].requires_grad_(False)
    net.nodes["first"].gain.requires_grad_(False)
    sums = GradientSums(net)
    sums.add("first", draws(5, 6), draws(5, 4))
    sums.add("readout", draws(5, 3), draws(5, 6))
    sums.deposit()
    assert net.nodes["readout"].weight.grad is None
    assert net.nodes["readout"].bias.grad is None
    assert net.nodes["first"].gain.grad is None
    assert net.nodes["first"].weight.grad is not None


def test_add_gradient_adds_and_leaves_what_is_given_alone() -> None:
    parameter = torch.zeros(2, requires_grad=True)
    gradient = torch.tensor([1.0, 2.0])
    add_gradient(parameter, gradient)
    add_gradient(parameter, gradient)
    assert parameter.grad.tolist() == [2.0, 4.0]
    assert gradient.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("bytes_held", [1, 1 << 10, 1 << 20])
def test_a_large_synapse_gathers_traces_that_are_overwritten(
    bytes_held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "_WORTH_WAITING", 1)
    monkeypatch.setattr(gradients, "_WAITING_BYTES", bytes_held)
    net = network()
    sums = GradientSums(net)
    trace, expected = torch.zeros(5, 6, dtype=torch.float64), torch.zeros(3, 6, dtype=torch.float64)
    for _ in range(7):
        delta = draws(5, 3)
        trace.mul_(0.5).add_(draws(5, 6))
        expected += delta.t() @ trace
        sums.add("readout", delta, trace)
    sums.deposit()
    torch.testing.assert_close(net.nodes["readout"].weight.grad, 2 * expected)
