"""LIF: voltages by hand, the OTTT form, and gradients against the hand-derived recursion."""

from typing import Literal

import pytest
import torch
from torch import Tensor

from neuro.neurons import LIF
from neuro.surrogate import SURROGATES, Rectangle, Surrogate


def test_defaults_are_the_neuron_of_ottt() -> None:
    neuron = LIF()
    assert (neuron.decay, neuron.threshold, neuron.input_gain) == (0.5, 1.0, 1.0)
    assert (neuron.reset_mode, neuron.detach_reset, neuron.inclusive) == ("soft", True, True)
    assert neuron.surrogate == SURROGATES["sigmoid"](slope=4.0)  # type: ignore[call-arg]


def test_soft_reset_by_hand() -> None:
    # u: 0.75, 1.125, 1.0625, 0.03125, 1.015625; v is u, less 1 after a spike.
    spikes, state = LIF().sequence(torch.tensor([0.75, 0.75, 1.0, 0.0, 1.0]))
    assert spikes.tolist() == [0, 1, 1, 0, 1]
    assert state.membrane_potential.item() == 0.015625


def test_soft_reset_is_the_ottt_recursion() -> None:
    """u[t+1] = decay * (u[t] - threshold * s[t]) + I[t+1], with u before the reset."""
    currents = 2 * torch.rand(30, 7, generator=torch.Generator().manual_seed(1)).double()
    spikes, _ = LIF(decay=0.8, threshold=1.5).sequence(currents)
    potential = torch.zeros(7).double()
    fired = torch.zeros(7).double()
    for t in range(30):
        potential = 0.8 * (potential - 1.5 * fired) + currents[t]
        fired = (potential >= 1.5).double()
        assert torch.equal(fired, spikes[t])


def test_hard_reset_by_hand() -> None:
    # u: 0.75, 1.125 (v: 0.25), 1.125 (v: 0.25), 0.125, 1.0625 (v: 0.25)
    neuron = LIF(reset_mode="hard", reset_value=0.25)
    spikes, state = neuron.sequence(torch.tensor([0.75, 0.75, 1.0, 0.0, 1.0]))
    assert spikes.tolist() == [0, 1, 1, 0, 1]
    assert state.membrane_potential.item() == 0.25


def test_hard_reset_forgets_how_far_the_threshold_was_passed() -> None:
    _, state = LIF(reset_mode="hard").sequence(torch.tensor([[1.0, 5.0, 1e6]]))
    assert state.membrane_potential.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("inclusive", "expected"), [(True, 1.0), (False, 0.0)])
def test_threshold_is_inclusive_or_not(inclusive: bool, expected: float) -> None:
    spikes, _ = LIF(threshold=0.75, inclusive=inclusive).sequence(torch.tensor([0.75]))
    assert spikes.item() == expected


def test_low_pass_form_tends_to_a_constant_input() -> None:
    decay = 0.75
    _, state = LIF(decay=decay, input_gain=1 - decay).sequence(torch.full((4,), 0.5))
    assert state.membrane_potential.item() == 0.5 * (1 - decay**4)


# -- gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "detach", "expected"),
    [
        ("soft", True, 0.25),  # psi(u2) * decay                        = 0.5 * 0.5
        ("soft", False, 0.125),  # ... * (1 - threshold * psi(u1))        = 0.25 * (1 - 0.5)
        ("hard", True, 0.0),  # ... * (1 - s1)                         = 0.25 * 0
        ("hard", False, -0.1875),  # ... * (1 - s1 - u1 * psi(u1))          = 0.25 * (-1.5 * 0.5)
    ],
)
def test_reset_gradient_of_two_steps_by_hand(
    mode: Literal["soft", "hard"], detach: bool, expected: float
) -> None:
    """d s[2] / d I[1]: u1 = 1.5 fires, u2 does not; psi is 1/2 at both."""
    neuron = LIF(reset_mode=mode, detach_reset=detach, surrogate=Rectangle(width=2.0))
    currents = torch.tensor([1.5, 0.25], requires_grad=True)
    spikes, _ = neuron.sequence(currents)
    assert spikes.tolist() == [1, 0]
    (gradient,) = torch.autograd.grad(spikes[1], currents)
    assert gradient.tolist() == [expected, 0.5]


def recursion(
    neuron: LIF, currents: Tensor, weights: Tensor, last: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients of ``sum_t weights[t] s[t] + last v[T]``, written out backwards in time::

        gu[t] = weights[t] psi[t] + gv[t] dv/du     gv[t-1] = decay gu[t]     gI[t] = gain gu[t]
        soft  dv/du = 1 - k threshold psi           hard  dv/du = 1 - s + k (reset_value - u) psi

    with k = 0 for a detached reset, 1 otherwise.
    """
    numbers = (neuron.decay, neuron.threshold, neuron.input_gain, neuron.reset_value)
    decay, threshold, gain, to = (torch.as_tensor(x).detach().item() for x in numbers)
    before, potentials, spikes = [], [], []
    v = torch.zeros_like(currents[0])
    for current in currents:
        u = decay * v + gain * current
        s = (u >= threshold).double()
        before.append(v)
        potentials.append(u)
        spikes.append(s)
        v = u - threshold * s if neuron.reset_mode == "soft" else u * (1 - s) + to * s
    k = 0.0 if neuron.detach_reset else 1.0
    by_current = torch.zeros_like(currents)
    sums = {
        name: torch.zeros_like(v) for name in ("decay", "threshold", "input_gain", "reset_value")
    }
    gv = last
    for t in reversed(range(len(currents))):
        u, s = potentials[t], spikes[t]
        psi = neuron.surrogate.derivative(u - threshold)
        if neuron.reset_mode == "soft":
            through, by_spike, by_threshold = 1.0, -threshold, -s
        else:
            through, by_spike, by_threshold = 1 - s, to - u, torch.zeros_like(s)
            sums["reset_value"] += gv * s
        spike_gradient = weights[t] + k * gv * by_spike
        gu = spike_gradient * psi + gv * through
        sums["threshold"] += gv * by_threshold - spike_gradient * psi
        sums["decay"] += gu * before[t]
        sums["input_gain"] += gu * currents[t]
        by_current[t] = gain * gu
        gv = decay * gu
    return by_current, {name: total.sum() for name, total in sums.items()}


@pytest.mark.parametrize("surrogate", [kind() for kind in SURROGATES.values()], ids=str)
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_gradients_follow_the_hand_derived_recursion(
    mode: Literal["soft", "hard"], detach: bool, surrogate: Surrogate
) -> None:
    source = torch.Generator().manual_seed(4)
    shape = (9, 3, 5)
    currents = (2 * torch.rand(shape, generator=source).double()).requires_grad_()
    weights = torch.randn(shape, generator=source).double()
    last = torch.randn(shape[1:], generator=source).double()
    numbers = {"decay": 0.8, "threshold": 0.9, "input_gain": 0.7}
    if mode == "hard":
        numbers["reset_value"] = -0.2
    tensors = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in numbers.items()
    }
    neuron = LIF(
        decay=tensors["decay"],
        threshold=tensors["threshold"],
        input_gain=tensors["input_gain"],
        reset_value=tensors.get("reset_value", 0.0),
        reset_mode=mode,
        detach_reset=detach,
        surrogate=surrogate,
    )
    spikes, state = neuron.sequence(currents)
    assert 0.1 < spikes.mean() < 0.9
    loss = (weights * spikes).sum() + (last * state.membrane_potential).sum()
    by_current, *rest = torch.autograd.grad(loss, [currents, *tensors.values()])

    expected, sums = recursion(neuron, currents.detach(), weights, last)
    torch.testing.assert_close(by_current, expected, rtol=1e-10, atol=1e-12)
    for name, gradient in zip(tensors, rest, strict=True):
        torch.testing.assert_close(gradient, sums[name], rtol=1e-10, atol=1e-12, msg=name)
