"""Alpha-function LIF: the postsynaptic kernel, GRSNN's recursion and its gradients."""

import math

import pytest
import torch

from neuro.errors import UsageError
from neuro.neurons import AlphaLIF, CubaLIF, CurrentState, decay_from_tau

LAM, GAIN, THRESHOLD = math.exp(-1 / 4), math.e / 4, 2.0


def test_defaults_are_the_neuron_of_grsnn() -> None:
    neuron = AlphaLIF()
    assert neuron.decay == pytest.approx(0.7788, abs=5e-5)
    assert neuron.gain == pytest.approx(0.6796, abs=5e-5)
    assert (neuron.threshold, neuron.reset_mode, neuron.reset_value) == (2.0, "hard", 0.0)
    assert neuron.detach_reset is False
    assert neuron.inclusive is True


def test_one_unit_of_input_draws_the_alpha_kernel() -> None:
    """eps(k) = gain (k + 1) decay^k, of peak 1.284 at k = 3."""
    neuron = AlphaLIF()
    state = neuron.zeros((1,), dtype=torch.float64)
    current = torch.ones(1, dtype=torch.float64)
    kernel = []
    for _ in range(12):
        spikes, state = neuron.step(current, state)
        assert spikes.item() == 0
        kernel.append(state.membrane_potential.item())
        current = torch.zeros_like(current)
    expected = [GAIN * (k + 1) * LAM**k for k in range(12)]
    assert kernel == pytest.approx(expected, rel=1e-12)
    assert max(kernel) == pytest.approx(1.2840254, abs=1e-7)
    assert kernel.index(max(kernel)) == 3


@pytest.mark.parametrize(("weight", "fires"), [(1.55, False), (1.56, True)])
def test_a_lone_spike_needs_a_weight_of_1_56_to_fire_a_neuron(weight: float, fires: bool) -> None:
    currents = torch.zeros(10, 1)
    currents[0] = weight
    spikes, _ = AlphaLIF().sequence(currents)
    assert bool(spikes.any()) is fires


@pytest.mark.parametrize(
    ("current", "first_spike"),
    [(2.0, 0), (1.999, 1), (0.46, 13), (0.442, None)],
)
def test_a_constant_membrane_current_is_coded_in_the_first_spike(
    current: float, first_spike: int | None
) -> None:
    """u[t] = q (1 - decay^(t+1)) / (1 - decay): it fires at 0 iff q >= 2, at all iff q > 0.4424."""
    neuron = AlphaLIF()
    state = neuron.zeros((1,), dtype=torch.float64)
    silence, boundary = torch.zeros(1).double(), torch.tensor([current]).double()
    fired = []
    for _ in range(200):
        spikes, state = neuron.step(silence, state, boundary)
        fired.append(spikes.item())
    assert (fired.index(1.0) if 1.0 in fired else None) == first_spike


def plain_grsnn(aggregate: list[float], boundary: float) -> tuple[list[float], list[float]]:
    """The recursion in plain numbers: potentials before the reset, and spikes."""
    synaptic, kept = 0.0, 0.0
    potentials, spikes = [], []
    for value in aggregate:
        synaptic = LAM * synaptic + GAIN * value
        potential = LAM * kept + synaptic + boundary
        spike = 1.0 if potential >= THRESHOLD else 0.0
        kept = potential * (1 - spike)
        potentials.append(potential)
        spikes.append(spike)
    return potentials, spikes


AGGREGATE = [0.0, 1.0, 2.0, 0.0, 0.5, 3.0, 0.0, 0.0, -1.0, 1.5]


@pytest.mark.parametrize("boundary", [0.0, 0.6, 2.3])
def test_spikes_and_potentials_are_those_of_the_plain_recursion(boundary: float) -> None:
    potentials, spikes = plain_grsnn(AGGREGATE, boundary)
    assert sum(spikes) > 0
    neuron = AlphaLIF()
    state = neuron.zeros((), dtype=torch.float64)
    for t, value in enumerate(AGGREGATE):
        current, drive = torch.tensor([value, boundary], dtype=torch.float64)
        charged = neuron.charge(current, state, drive)
        assert charged.membrane_potential.item() == pytest.approx(potentials[t], rel=1e-12)
        fired, state = neuron.step(current, state, drive)
        assert fired.item() == spikes[t]
        assert state.membrane_potential.item() == pytest.approx(
            potentials[t] * (1 - spikes[t]), rel=1e-12
        )


def test_gradients_pass_through_the_reset_as_in_grsnn() -> None:
    """gu = psi (gs - gv u) + gv (1 - s); gi += gu; g_input = gain gi; both leak with decay."""
    aggregate = torch.tensor(AGGREGATE, dtype=torch.float64, requires_grad=True)
    boundary = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(len(AGGREGATE), generator=torch.Generator().manual_seed(0)).double()
    neuron = AlphaLIF()
    state: CurrentState = neuron.zeros((), dtype=torch.float64)
    fired = []
    for value in aggregate:
        spikes, state = neuron.step(value, state, boundary)
        fired.append(spikes)
    loss = (weights * torch.stack(fired)).sum()
    by_aggregate, by_boundary = torch.autograd.grad(loss, [aggregate, boundary])

    potentials, spikes_by_hand = plain_grsnn(AGGREGATE, 0.6)
    assert 0 < sum(spikes_by_hand) < len(AGGREGATE)
    expected = torch.zeros(len(AGGREGATE)).double()
    kept, synaptic, total = 0.0, 0.0, 0.0
    for t in reversed(range(len(AGGREGATE))):
        sigmoid = 1 / (1 + math.exp(-4 * (potentials[t] - THRESHOLD)))
        psi = 4 * sigmoid * (1 - sigmoid)
        gu = psi * (weights[t].item() - kept * potentials[t]) + kept * (1 - spikes_by_hand[t])
        synaptic += gu
        expected[t] = GAIN * synaptic
        total += gu
        kept, synaptic = LAM * gu, LAM * synaptic
    torch.testing.assert_close(by_aggregate, expected, rtol=1e-10, atol=1e-12)
    assert by_boundary.item() == pytest.approx(total, rel=1e-10)


def test_it_is_a_cuba_lif_of_equal_decays() -> None:
    currents = 3 * torch.rand(20, 7, generator=torch.Generator().manual_seed(3)).double()
    alpha = AlphaLIF(decay=decay_from_tau(3.0, "exponential"))
    cuba = CubaLIF(
        current_decay=math.exp(-1 / 3),
        voltage_decay=math.exp(-1 / 3),
        input_gain=alpha.gain,
        threshold=2.0,
        reset_mode="hard",
        detach_reset=False,
    )
    assert alpha.gain == pytest.approx(math.e / 3)
    spikes, state = alpha.sequence(currents)
    expected, expected_state = cuba.sequence(currents)
    assert torch.equal(spikes, expected)
    assert torch.equal(state.membrane_potential, expected_state.membrane_potential)


def test_a_learnt_decay_takes_the_gain_along() -> None:
    decay = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    gain = AlphaLIF(decay=decay).gain
    assert isinstance(gain, torch.Tensor)
    assert gain.item() == pytest.approx(-math.e * math.log(0.7))
    (gradient,) = torch.autograd.grad(gain, decay)
    assert gradient.item() == pytest.approx(-math.e / 0.7)
    assert AlphaLIF(decay=decay, input_gain=0.25).gain == 0.25


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_a_decay_without_time_constant_needs_its_own_gain(decay: float) -> None:
    with pytest.raises(UsageError, match="strictly between 0 and 1"):
        AlphaLIF(decay=decay)
    assert AlphaLIF(decay=decay, input_gain=1.0).gain == 1.0
