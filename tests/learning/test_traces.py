"""Eligibility traces."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.learning.traces import Trace
from neuro.neurons import IF, LIF, AlphaLIF, CubaLIF, Filter

decays = st.floats(0, 1)


def spikes_over(timesteps: int) -> Tensor:
    generator = torch.Generator().manual_seed(timesteps)
    draws = torch.rand(timesteps, 2, 3, generator=generator, dtype=torch.float64)
    return (draws < 0.4).double()


@settings(deadline=None, max_examples=40)
@given(decay=decays, timesteps=st.integers(1, 8))
def test_trace_of_a_leaky_neuron_is_the_explicit_sum(decay: float, timesteps: int) -> None:
    """A3: a[t] = sum_{k <= t} decay^(t-k) s[k]."""
    spikes = spikes_over(timesteps)
    trace = Trace((Filter(decay, 1.0),))
    for t in range(timesteps):
        found = trace.update(spikes[t])
        explicit = sum(decay ** (t - k) * spikes[k] for k in range(t + 1))
        torch.testing.assert_close(found, explicit)


@settings(deadline=None, max_examples=40)
@given(first=decays, second=decays, timesteps=st.integers(1, 6))
def test_trace_of_two_time_constants_is_the_double_sum(
    first: float, second: float, timesteps: int
) -> None:
    spikes = spikes_over(timesteps)
    trace = Trace(CubaLIF(current_decay=first, voltage_decay=second).filters)
    for t in range(timesteps):
        found = trace.update(spikes[t])
        explicit = sum(
            second ** (t - j) * first ** (j - k) * spikes[k]
            for k in range(t + 1)
            for j in range(k, t + 1)
        )
        torch.testing.assert_close(found, explicit)


def test_the_latest_spike_counts_one_whatever_the_gain_of_the_neuron() -> None:
    """The gain belongs to the neuron that receives, not to the activity it learns from."""
    for neuron in (LIF(input_gain=0.5), IF(input_gain=3.0), CubaLIF(input_gain=2.0), AlphaLIF()):
        trace = Trace(neuron.filters)
        assert trace.update(torch.ones(1, 1)).item() == 1.0, neuron
