"""Integer graphs counted by hand, against a loop over every synapse, and beside Lava's spikes."""

from pathlib import Path

import numpy as np
import pytest

from neuro.energy import Counts
from neuro.energy.counting.integer import count_integer_graph, count_integer_run
from neuro.errors import UsageError
from neuro.hardware.fixed_point import run
from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Dense,
    IntegerGraph,
    Population,
    Source,
    Sparse,
    target_shape,
)
from tests.hardware.golden.make_lava import SEEDS
from tests.hardware.graphs import integers, neurons, one_layer
from tests.hardware.lava.random_graphs import draw

GOLDEN = Path(__file__).parents[1] / "hardware" / "golden" / "lava.npz"


def counted(graph, inputs, **more):
    recording = run(graph, inputs, record=list(graph.populations))
    return recording, count_integer_graph(graph, recording, inputs, **more)


def test_a_dense_layer_by_hand():
    weight = np.array([[5, 0, 1], [2, 2, 0]])
    graph = one_layer(weight, neurons(dv=0, vth=6), steps=4)
    spikes = np.zeros((3, 1, 3), np.int32)
    spikes[0, 0] = [1, 1, 0]  # arrives at step 1: 3 synapses
    spikes[2, 0] = [1, 0, 1]  # at step 3: 3
    _, ledger = counted(graph, {"in": spikes}, per_step=True)
    # potentials 5 and 4 after step 1, 11 and 6 at step 3, of which one is above 6
    assert ledger.layers["in -> out"] == Counts(
        spikes_in=4,
        synaptic_additions=6,
        weight_reads=6,
        state_reads=6,
        state_writes=6,
        activation_reads=4,
    )
    assert [step.layers["in -> out"].synaptic_additions for step in ledger.steps] == [0, 3, 0, 3]
    assert ledger.layers["out"] == Counts(
        spikes=1,
        additions=8,
        resets=1,
        comparisons=8,
        neuron_updates=8,
        active_updates=4,
        state_reads=8,
        state_writes=8,
        activation_reads=8,
        activation_writes=1,
    )
    facts = ledger.facts["in -> out"]
    assert (facts.kind, facts.signal, facts.weights, facts.dense) == ("linear", "binary", 4, 4)
    assert facts.weight_bits == 4


def test_what_arrives_after_the_last_step_does_not_happen():
    weight = np.ones((2, 2))
    delays = np.array([[0, 1], [2, 3]])
    graph = one_layer(weight.astype(int), neurons(), steps=3, delay=delays)
    spikes = np.zeros((1, 1, 2), np.int32)
    spikes[0, 0] = [1, 1]
    _, ledger = counted(graph, {"in": spikes})
    # delays 0 and 1 arrive at steps 1 and 2; 2 and 3 would at steps 3 and 4
    assert ledger.layers["in -> out"].synaptic_additions == 2
    assert ledger.layers["in -> out"].delay_pushes == 1
    assert ledger.facts["out"].state == 2 * (1 + 3)
    late = np.zeros((3, 1, 2), np.int32)
    late[2, 0, 0] = 1
    _, ledger = counted(graph, {"in": late})
    assert ledger.layers["in -> out"] == Counts()


def test_recurrent_synapses_carry_the_populations_own_spikes():
    out = Population(name="out", shape=(2,), neuron=neurons(dv=4096, vth=0))
    ring = Connection(source="out", target="out", synapses=Dense(weight=integers([[0, 9], [9, 0]])))
    drive = Connection(source="in", target="out", synapses=Dense(weight=integers([[9], [0]])))
    graph = IntegerGraph(
        sources={"in": Source(name="in", shape=(1,))},
        populations={"out": out},
        connections=(drive, ring),
        output="out",
        steps=6,
    )
    spikes = np.zeros((1, 1, 1), np.int32)
    spikes[0] = 1
    _, ledger = counted(graph, {"in": spikes})
    # one spike goes round: it arrives at steps 1 to 5
    assert ledger.layers["out"].spikes == 5
    assert ledger.layers["in -> out"].synaptic_additions == 1
    assert ledger.layers["out -> out"].synaptic_additions == 4
    assert ledger.layers["out"].active_updates == 5
    assert (ledger.layers["out"].decays, ledger.layers["out"].additions) == (0, 0)
    assert ledger.driven == {"in -> out", "out -> out"}


def test_messages_with_numbers_are_products():
    graph = one_layer(np.array([[1, 2]]), neurons(du=0, dv=100), steps=3, bits=4)
    sent = np.array([[[3, 0]], [[-2, 5]]], np.int32)
    _, ledger = counted(graph, {"in": sent})
    layer = ledger.layers["in -> out"]
    assert (layer.macs, layer.synaptic_additions, layer.spikes_in) == (3, 0, 3)
    assert ledger.facts["in -> out"].signal == "graded"
    assert (ledger.layers["out"].decays, ledger.layers["out"].additions) == (6, 6)


def test_biases_ternary_neurons_and_clearing():
    neuron = neurons(bias_mant=[3, 0], vth_low=integers(-4), start=1, interval=2, vth=10)
    graph = one_layer(np.array([[-9], [1]]), neuron, steps=4)
    spikes = np.ones((1, 2, 1), np.int32)
    _, ledger = counted(graph, {"in": spikes})
    out = ledger.layers["out"]
    assert (out.bias_additions, out.comparisons, out.spikes) == (8, 32, 2)
    # cleared before steps 1 and 3
    assert (out.state_reads, out.state_writes) == (16, 24)
    given = {"out": np.array([[5, 5], [0, 5]], np.int64)}
    recording = run(graph, {"in": spikes}, record=["out"], biases=given)
    ledger = count_integer_graph(graph, recording, {"in": spikes}, biases=given)
    assert ledger.layers["out"].bias_additions == 12


def test_what_was_not_recorded_or_cannot_be_sent_is_refused():
    graph = one_layer(np.array([[1]]), neurons(), steps=2)
    spikes = {"in": np.ones((1, 1, 1), np.int32)}
    with pytest.raises(UsageError, match="spikes and states of out were not recorded"):
        count_integer_graph(graph, run(graph, spikes), spikes)
    recording = run(graph, spikes, record=["out"])
    with pytest.raises(UsageError, match="the input 'in': declared binary"):
        count_integer_graph(graph, recording, {"in": 2 * spikes["in"]})


# --- every kind of synapse ----------------------------------------------------------------------


def synapse_list(connection: Connection, source: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return source and delay of every single synapse with a weight, by loops."""
    synapses, found = connection.synapses, []
    if isinstance(synapses, Convolution):
        channels, height, width = source
        _, rows, columns = target_shape(synapses, source)
        group = len(synapses.weight) // synapses.groups
        for o, c, i, j in np.argwhere(synapses.weight).tolist():
            for y in range(rows):
                for x in range(columns):
                    row = y * synapses.stride[0] - synapses.padding[0] + i * synapses.dilation[0]
                    column = x * synapses.stride[1] - synapses.padding[1] + j * synapses.dilation[1]
                    if 0 <= row < height and 0 <= column < width:
                        channel = o // group * (channels // synapses.groups) + c
                        place = (channel * height + row) * width + column
                        found.append((place, int(connection.delay)))
        return found
    delays = np.broadcast_to(connection.delay, synapses.weight.shape)
    if isinstance(synapses, Sparse):
        entries = zip(synapses.sources, synapses.weight, delays, strict=True)
        return [(int(j), int(d)) for j, w, d in entries if w]
    return [(j, int(delays[i, j])) for i, j in np.argwhere(synapses.weight).tolist()]


@pytest.mark.parametrize("seed", range(30))
def test_random_graphs_are_counted_synapse_by_synapse(seed):
    graph, inputs = draw(seed)
    recording, ledger = counted(graph, inputs)
    steps = recording.steps
    for number, connection in enumerate(graph.connections):
        sent = inputs.get(connection.source, recording.spikes.get(connection.source))
        flat = (sent != 0).sum(1).reshape(len(sent), -1)
        expected = sum(
            int(flat[: max(steps - 1 - delay, 0), place].sum())
            for place, delay in synapse_list(connection, graph.shape(connection.source))
        )
        name = [each for each in ledger.layers if " -> " in each][number]
        layer = ledger.layers[name]
        assert layer.synaptic_additions + layer.macs == expected, name
    assert list(count_integer_run(graph, inputs, block=1).layers.values()) == list(
        ledger.layers.values()
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_spikes_are_those_that_lava_counted(seed):
    graph, inputs = draw(seed)
    recording, ledger = counted(graph, inputs, per_step=True)
    with np.load(GOLDEN, allow_pickle=False) as golden:
        for name in graph.populations:
            of_lava = golden[f"{seed}.spikes.{name}"]
            assert ledger.layers[name].spikes == np.count_nonzero(of_lava)
            assert ledger.layers[name].spikes == recording.events[name].sum()
            by_step = [step.layers[name].spikes for step in ledger.steps]
            assert by_step == np.count_nonzero(of_lava.reshape(len(of_lava), -1), axis=1).tolist()


def test_two_connections_between_the_same_populations_stand_apart():
    single = Connection(source="in", target="out", synapses=Dense(weight=integers([[1]])))
    graph = IntegerGraph(
        sources={"in": Source(name="in", shape=(1,))},
        populations={"out": Population(name="out", shape=(1,), neuron=neurons())},
        connections=(single, single),
        output="out",
        steps=2,
    )
    _, ledger = counted(graph, {"in": np.ones((1, 1, 1), np.int32)})
    assert list(ledger.layers) == ["in -> out", "in -> out (2)", "out"]
    assert ledger.total.synaptic_additions == 2
