"""Neurons in whole numbers: the chip's own steps, and the gradients of real neurons."""

import numpy as np
import pytest
import torch

from neuro.errors import UsageError
from neuro.hardware.fixed_point_reference import run_sample
from neuro.hardware.integer_graph import (
    Connection,
    Cuba,
    Dense,
    IntegerGraph,
    Population,
    SoftReset,
    Source,
)
from neuro.neurons import CubaLIF
from neuro.neurons.fixed_point import FixedPointLIF

N, T = 30, 40
SCALE = 37.3  # units of weights in a unit of the potential; no whole number comes out of it


def registers(du: object, dv: object, vth: object = 900) -> Cuba:
    whole = {"du": du, "dv": dv, "vth": vth, "bias_mant": 0, "bias_exp": 0}
    return Cuba(**{name: np.asarray(value, np.int32) for name, value in whole.items()}, start=0)


def neuron_of(cuba: Cuba, **changes: object) -> FixedPointLIF:
    def number(values: np.ndarray) -> object:
        return torch.from_numpy(values) if values.ndim else float(values)

    return FixedPointLIF(
        steps=64 * SCALE,
        current_decay=number((4095 - cuba.du) / 4096),
        voltage_decay=number((4096 - cuba.dv) / 4096),
        threshold=number(cuba.vth / SCALE),
        **{"reset_mode": "hard", **changes},
    )


def arriving(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.integers(-900, 1000, (T, N)) * (generator.random((T, N)) < 0.4)).astype(int)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(
    "cuba",
    [
        registers(4095, 700),
        registers(4095, 0),
        registers(300, 4095),
        registers(60, 40),
        registers(np.arange(N) * 100, np.arange(N) * 130, 300 + np.arange(N)),
    ],
)
def test_every_step_is_the_chips(cuba, soft):
    currents = arriving()
    graph = IntegerGraph(
        sources={"in": Source(name="in", shape=(N,), message_bits=12)},
        populations={
            "out": Population(name="out", shape=(N,), neuron=SoftReset(cuba) if soft else cuba)
        },
        connections=(
            Connection(source="in", target="out", synapses=Dense(weight=np.eye(N, dtype=np.int32))),
        ),
        output="out",
        steps=T + 1,
    )
    theirs = run_sample(graph, {"in": currents}, T + 1)["out"]
    neuron = neuron_of(cuba, reset_mode="soft" if soft else "hard")
    state = neuron.zeros((1, N))
    for t, arrived in enumerate(currents):
        spikes, state = neuron.step(torch.from_numpy(arrived)[None].float(), state)
        np.testing.assert_array_equal(spikes[0].numpy(), theirs.spikes[t + 1])
        for mine, register in zip(state, (theirs.u, theirs.v), strict=True):
            steps = mine[0].numpy() * 64 * SCALE
            np.testing.assert_allclose(steps, register[t + 1], atol=1e-6)
    assert 10 < theirs.spikes.sum() < 0.7 * T * N


def test_it_fires_above_its_threshold_only():
    neuron = neuron_of(registers(4095, 0, vth=100))
    spikes, _ = neuron.sequence(torch.tensor([[100.0, 100 + 1 / 64]]))
    assert spikes.tolist() == [[0, 1]]


def test_a_sequence_is_its_steps_and_may_be_cut():
    neuron = neuron_of(registers(300, 700))
    currents = torch.from_numpy(arriving(1)).float()[:, None]
    whole, end = neuron.sequence(currents)
    first, state = neuron.sequence(currents[:13])
    second, state = neuron.sequence(currents[13:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(state.membrane_potential, end.membrane_potential)
    assert whole.dtype == torch.float32


@pytest.mark.parametrize("du", [4095, 1023])
def test_gradients_are_those_of_real_neurons(du):
    """On a grid so fine that rounding changes no spike, what autograd gives is the same."""
    fine = 1e6
    neuron = FixedPointLIF(
        steps=64 * fine,
        current_decay=(4095 - du) / 4096,
        voltage_decay=0.75,
        threshold=1.0,
        reset_mode="soft",
        dtype=torch.float64,
    )
    real = CubaLIF(
        current_decay=(4095 - du) / 4096, voltage_decay=0.75, threshold=1.0, inclusive=False
    )
    generator = torch.Generator().manual_seed(3)
    drawn = 1.5 * torch.rand(12, 2, 5, generator=generator, dtype=torch.float64)
    found = []
    for kind, unit in ((neuron, fine), (real, 1.0)):
        currents = (drawn * unit).requires_grad_()
        spikes, state = kind.sequence(currents)
        loss = (spikes * torch.arange(5)).sum() + state.membrane_potential.square().sum()
        (gradient,) = torch.autograd.grad(loss, currents)
        found.append(gradient * unit)
    assert found[1].abs().max() > 0.1
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_traces_and_gain_are_those_of_its_decays():
    plain = neuron_of(registers(4095, 1024)).filters
    assert [each.decay for each in plain] == [0.75]
    cascade = neuron_of(registers(2047, 1024))
    assert [each.decay for each in cascade.filters] == [0.5, 0.75]
    assert cascade.current_gain == pytest.approx(1 / SCALE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inclusive": True}, "fires above"),
        ({"reset_mode": "hard", "reset_value": 0.5}, "as on a chip"),
        ({"steps": 0.0}, "positive"),
    ],
)
def test_what_a_chip_does_not_have_is_refused(change, message):
    good = {"steps": 64.0, "current_decay": 0.0, "voltage_decay": 0.5}
    with pytest.raises(UsageError, match=message):
        FixedPointLIF(**{**good, **change})
