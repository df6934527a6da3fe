"""Adaptive LIF: thresholds by hand, limits, and memory carried by the adaptation."""

from typing import Literal

import pytest
import torch

from neuro.errors import UsageError
from neuro.neurons import LIF, AdaptiveLIF
from neuro.surrogate import Rectangle


def test_lsnn_form_by_hand() -> None:
    """Constant input 1.5, decay 0.5, adaptation_decay 0.75, beta 2, threshold 1.

    ====  ======  ====  =  ==========  ========
    step  u       A     s  v           a
    ====  ======  ====  =  ==========  ========
    0     1.5     1     1  0.5         0.25
    1     1.75    1.5   1  0.25        0.4375
    2     1.625   1.875 0  1.625       0.328125
    3     2.3125  1.65625 1 0.65625    0.49609375
    ====  ======  ====  =  ==========  ========
    """
    neuron = AdaptiveLIF(adaptation_decay=0.75, beta=2.0)
    spikes, state = neuron.sequence(torch.full((4,), 1.5))
    assert spikes.tolist() == [1, 1, 0, 1]
    assert state.membrane_potential.item() == 0.65625
    assert state.adaptation.item() == 0.49609375


def test_eprop_form_by_hand() -> None:
    """A spike adds 1 to the adaptation; the reset subtracts the fixed threshold.

    u: 1.5, 1.75, 1.875; A: 1, 1.5, 1.875; v: 0.5, 0.75, 0.875; a: 1, 1.75, 2.3125
    """
    neuron = AdaptiveLIF(
        adaptation_decay=0.75, beta=0.5, normalise_adaptation=False, subtract_adaptation=False
    )
    spikes, state = neuron.sequence(torch.full((3,), 1.5))
    assert spikes.tolist() == [1, 1, 1]
    assert state.membrane_potential.item() == 0.875
    assert state.adaptation.item() == 2.3125


def test_hard_reset_by_hand() -> None:
    # u: 1.5, 1.5, 2.25; A: 1, 1.8, ...: the second step stays silent.
    neuron = AdaptiveLIF(adaptation_decay=0.5, beta=1.6, reset_mode="hard")
    spikes, state = neuron.sequence(torch.full((3,), 1.5))
    assert spikes.tolist() == [1, 0, 1]
    assert state.membrane_potential.item() == 0.0
    assert state.adaptation.item() == 0.625


def test_threshold_rises_only_after_the_step_of_the_spike() -> None:
    neuron = AdaptiveLIF(beta=100.0)
    charged = neuron.charge(torch.tensor(1.0), neuron.zeros(()))
    assert neuron.distance(charged).item() == 0.0
    assert neuron.fire(charged).item() == 1.0
    after = neuron.reset(charged, torch.tensor(1.0))
    assert neuron.adaptive_threshold(after).item() == pytest.approx(1 + 100 * 0.1, rel=1e-6)


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_without_strength_it_is_a_lif(mode: Literal["soft", "hard"]) -> None:
    currents = 2 * torch.rand(20, 3, generator=torch.Generator().manual_seed(2)).double()
    spikes, state = AdaptiveLIF(beta=0.0, decay=0.8, reset_mode=mode).sequence(currents)
    expected, expected_state = LIF(decay=0.8, reset_mode=mode).sequence(currents)
    assert torch.equal(spikes, expected)
    assert torch.equal(state.membrane_potential, expected_state.membrane_potential)


def test_normalised_adaptation_is_a_running_firing_rate() -> None:
    neuron = AdaptiveLIF(beta=0.01, adaptation_decay=0.9)
    spikes, state = neuron.sequence(torch.full((100, 1), 5.0, dtype=torch.float64))
    assert spikes.min() == 1
    assert state.adaptation.item() == pytest.approx(1 - 0.9**100, rel=1e-12)


def test_adaptation_makes_a_neuron_fire_less() -> None:
    currents = torch.full((200, 1), 1.2)
    plain = AdaptiveLIF(beta=0.0).sequence(currents)[0].mean()
    adapted = AdaptiveLIF(beta=1.6).sequence(currents)[0].mean()
    assert adapted < 0.8 * plain


def test_adaptation_carries_gradients_even_with_a_detached_reset() -> None:
    """d s[1] / d I[0] = psi1 * (decay - beta * weight * psi0), the reset being detached.

    With decay 0.5, psi = 1/2 at both steps and weight 1 - 0.75: 0.5 * (0.5 - 2 * 0.25 * 0.5).
    """
    neuron = AdaptiveLIF(
        adaptation_decay=0.75,
        beta=2.0,
        subtract_adaptation=False,
        surrogate=Rectangle(width=2.0),
    )
    currents = torch.tensor([1.5, 0.75], requires_grad=True)
    spikes, _ = neuron.sequence(currents)
    assert spikes.tolist() == [1, 0]
    (gradient,) = torch.autograd.grad(spikes[1], currents)
    assert gradient.tolist() == [0.125, 0.5]


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(UsageError, match=r"AdaptiveLIF\.beta must be >= 0, got -1\.0"):
        AdaptiveLIF(beta=-1.0)
