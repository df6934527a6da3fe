"""The engine equals the reference bit for bit; the reference equals numbers of other simulators."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from neuro.errors import UsageError
from neuro.hardware import fixed_point
from neuro.hardware.fixed_point import answers, run, worst_case_inputs
from neuro.hardware.fixed_point_reference import run_sample
from neuro.hardware.integer_graph import Cuba, Dense, IntegerGraph, Population
from neuro.hardware.microcode import GradedSpikes, SoftReset, with_registers
from tests.hardware.graphs import (
    integers,
    neurons,
    one_layer,
    random_graph,
    random_input,
    seeds,
)


def assert_equals_reference(graph: IntegerGraph, inputs, batch: int, bits: int | None = None):
    recording = run(graph, inputs, record=graph.populations, accumulator_bits=bits, threads=1)
    for b in range(batch):
        sample = {name: given[:, b] for name, given in inputs.items()}
        traces = run_sample(graph, sample, graph.steps, accumulator_bits=bits)
        for name, trace in traces.items():
            np.testing.assert_array_equal(recording.u[name][:, b], trace.u)
            np.testing.assert_array_equal(recording.v[name][:, b], trace.v)
            np.testing.assert_array_equal(recording.spikes[name][:, b], trace.spikes)
            np.testing.assert_array_equal(recording.final_u[name][b], trace.u[-1])
            np.testing.assert_array_equal(recording.final_v[name][b], trace.v[-1])
            assert recording.events[name][b] == np.count_nonzero(trace.spikes)
        counts = traces[graph.output].spikes.sum(0)
        np.testing.assert_array_equal(recording.output_counts[b], counts)


@settings(max_examples=150, deadline=None)
@given(seeds())
def test_equals_the_reference_on_random_graphs(seed):
    graph = random_graph(seed)
    assert_equals_reference(graph, random_input(graph, seed, 3), 3)


@settings(max_examples=30, deadline=None)
@given(seeds())
def test_equals_the_reference_with_a_narrow_accumulator(seed):
    graph = random_graph(seed)
    assert_equals_reference(graph, random_input(graph, seed, 2), 2, bits=9)


def test_random_graphs_cover_what_they_are_meant_to():
    graphs = [random_graph(seed) for seed in range(200)]
    connections = [each for graph in graphs for each in graph.connections]
    kinds = {type(each.synapses).__name__ for each in connections}
    assert kinds == {"Dense", "Sparse", "Convolution"}
    neurons_of = [p.neuron for graph in graphs for p in graph.populations.values()]
    assert {type(neuron) for neuron in neurons_of} == {Cuba, SoftReset, GradedSpikes}
    assert any(neuron.registers.vth_low is not None for neuron in neurons_of)
    assert any(neuron.registers.interval for neuron in neurons_of)
    sent = [run(graph, random_input(graph, 1, 2)).extremes[name]
            for graph in graphs[:60] for name, each in graph.populations.items()
            if isinstance(each.neuron, GradedSpikes)]  # fmt: skip
    assert {bool(each.clipped_messages) for each in sent} == {False, True}
    assert any(each.source == each.target for each in connections)
    assert any(each.delay.ndim for each in connections)
    assert {each.weight_exponent for each in connections} == {0, -2, 3}
    busy = [graph for graph in graphs if sum(
        run(graph, random_input(graph, 1, 2)).events[graph.output])]  # fmt: skip
    assert len(busy) > 60


def test_blocks_and_threads_change_nothing(monkeypatch):
    graph = random_graph(5)
    inputs = random_input(graph, 5, 23)
    whole = run(graph, inputs, record=graph.populations, threads=1)
    monkeypatch.setattr(fixed_point, "_LARGEST_BLOCK", 4)
    parts = run(graph, inputs, record=graph.populations, threads=3)
    for name in graph.populations:
        np.testing.assert_array_equal(whole.v[name], parts.v[name])
        np.testing.assert_array_equal(whole.events[name], parts.events[name])
    assert whole.extremes == parts.extremes
    np.testing.assert_array_equal(whole.output_counts, parts.output_counts)


def with_bias(graph: IntegerGraph, name: str, bias) -> IntegerGraph:
    """Return the graph with a bias ``[*shape]`` in the registers of a population."""
    population = graph.populations[name]
    registers = replace(population.neuron.registers, bias_mant=integers(bias), bias_exp=integers(0))
    own = replace(population, neuron=with_registers(population.neuron, registers))
    return replace(graph, populations={**graph.populations, name: own})


@pytest.mark.parametrize("seed", range(12))
def test_biases_of_each_sample_are_as_if_its_registers_held_them(seed, monkeypatch):
    graph, batch = random_graph(seed), 5
    inputs = random_input(graph, seed, batch)
    rng = np.random.default_rng(seed)
    biases = {
        name: rng.integers(-4000, 4001, (batch, *graph.shape(name)))
        for name in list(graph.populations)[: 1 + seed % 2]
    }
    monkeypatch.setattr(fixed_point, "_LARGEST_BLOCK", 2)
    recording = run(graph, inputs, record=graph.populations, biases=biases)
    for b in range(batch):
        own = graph
        for name, bias in biases.items():
            own = with_bias(own, name, bias[b])
        sample = {name: given[:, b] for name, given in inputs.items()}
        for name, trace in run_sample(own, sample, graph.steps).items():
            np.testing.assert_array_equal(recording.v[name][:, b], trace.v)
            np.testing.assert_array_equal(recording.spikes[name][:, b], trace.spikes)
            assert recording.events[name][b] == np.count_nonzero(trace.spikes)


def test_biases_say_how_many_samples_a_graph_without_sources_runs():
    quiet = Population(name="out", shape=(2,), neuron=neurons(vth=1))
    graph = IntegerGraph(
        sources={}, populations={"out": quiet}, connections=(), output="out", steps=3
    )
    given = np.array([[64, 65], [0, 200], [-5, 64]])
    # a bias of 64 is not above 64, half of it and another 64 are, and the reset begins again
    assert run(graph, {}, biases={"out": given}).output_counts.tolist() == [[1, 3], [0, 3], [0, 1]]
    assert run(graph, {}).output_counts.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("biases", "said"),
    [
        ({"aut": np.zeros((1, 1), int)}, r"no population 'aut'.*out"),
        ({"out": np.zeros((1, 1))}, "expected integers"),
        ({"out": np.zeros((1, 2), int)}, "expected integers"),
        ({"out": np.zeros((2, 1), int)}, "expected one number"),
    ],
)
def test_biases_that_do_not_fit_are_refused(biases, said):
    graph = one_layer(np.ones((1, 2), int), neurons(), 4)
    with pytest.raises(UsageError, match=said):
        run(graph, {"in": np.ones((1, 1, 2), int)}, biases=biases)


def test_one_neuron_by_hand():
    # a = 3, 0, 0: u = 192, 192 * 3/4 = 144, 108; v = 192, 192/2 + 144 = 240, 120 + 108 = 228;
    # a threshold of 3 << 6 = 192 is not passed by 192 but by 240, after which v = 0.
    graph = one_layer(np.array([[3]]), neurons(du=1023, dv=2048, vth=3), 4)
    recording = run(graph, {"in": np.ones((1, 1, 1), int)}, record=["out"])
    assert recording.u["out"].ravel().tolist() == [0, 192, 144, 108]
    assert recording.v["out"].ravel().tolist() == [0, 192, 0, 108]
    assert recording.spikes["out"].ravel().tolist() == [0, 0, 1, 0]
    assert recording.extremes["out"] == (3, 192, 240, 0, 0, 0, 0)


def test_a_soft_reset_by_hand():
    plain = neurons(dv=0, vth=3)
    graph = one_layer(np.array([[5]]), SoftReset(plain), 3)
    recording = run(graph, {"in": np.ones((2, 1, 1), int)}, record=["out"])
    assert recording.v["out"].ravel().tolist() == [0, 2 << 6, 4 << 6]
    assert recording.spikes["out"].ravel().tolist() == [0, 1, 1]


def graded(vth=3, **program):
    """Return 3 neurons without memory that hear 0, 3, 7 times what comes in, and one they drive
    with the weights 1, 10, 100."""
    memoryless = neurons(dv=4095, vth=vth)
    first = one_layer(np.array([[0], [3], [7]]), GradedSpikes(memoryless, **program), 4, bits=8)
    adder = Population(name="sum", shape=(1,), neuron=neurons(dv=0, vth=131071))
    onward = replace(
        first.connections[0],
        source="out",
        target="sum",
        synapses=Dense(weight=integers([[1, 10, 100]])),
    )
    populations = {**first.populations, "sum": adder}
    connections = (*first.connections, onward)
    return replace(first, populations=populations, connections=connections)


def spoken(graph, value):
    recording = run(graph, {"in": np.full((1, 1, 1), value)}, record=graph.populations)
    return recording, recording.spikes["out"][1, 0].tolist()


def test_graded_spikes_by_hand():
    # 2 in: potentials 0, 6 << 6, 14 << 6, and a threshold of 3 << 6
    recording, messages = spoken(graded(), 2)
    assert messages == [0, 6, 14]
    assert recording.v["out"][1, 0].tolist() == [0, 0, 0]
    assert recording.v["sum"][2, 0, 0] == (10 * 6 + 100 * 14) << 6
    assert recording.events["out"].tolist() == [2]
    assert spoken(graded(payload="excess"), 2)[1] == [0, 3, 11]
    assert spoken(graded(shift=0), 2)[1] == [0, 6 << 6, 14 << 6]
    # 1 in: 3 << 6 does not pass the threshold
    assert spoken(graded(), 1)[1] == [0, 0, 7]


def test_a_number_its_bits_do_not_carry_is_cut():
    recording, messages = spoken(graded(message_bits=4), 2)
    assert messages == [0, 6, 7]
    assert recording.extremes["out"].clipped_messages == 1
    assert spoken(graded(message_bits=5), 2)[0].extremes["out"].clipped_messages == 0


def test_a_number_rounded_to_0_is_silence_after_a_reset():
    recording, messages = spoken(graded(shift=9), 2)
    assert messages == [0, 0, 1]  # 384 >> 9 and 896 >> 9
    assert recording.v["out"][1, 0].tolist() == [0, 0, 0]
    assert recording.events["out"].tolist() == [1]


def test_each_neuron_sends_its_excess_over_its_own_threshold():
    assert spoken(graded(vth=[0, 5, 9], payload="excess"), 2)[1] == [0, 1, 5]


def test_all_24_bits_of_a_potential_can_be_sent():
    # half of what a potential can be arrives at every step
    plain = neurons(dv=0, vth=131071)
    graph = one_layer(np.array([[1 << 16]]), GradedSpikes(plain, shift=0), 600)
    inputs = {"in": np.ones((600, 1, 1), int)}
    assert_equals_reference(graph, inputs, 1)
    recording = run(graph, inputs, record=["out"])
    top = (1 << 23) - 1
    assert recording.extremes["out"].clipped_v > 0
    assert recording.spikes["out"].max() == top == graph.populations["out"].message_range[1]
    assert recording.output_counts[0, 0] == recording.spikes["out"].sum(dtype=np.int64) > 1 << 31


def test_the_worst_case_knows_how_much_a_spike_can_carry():
    assert worst_case_inputs(graded())["sum"] == 111 * ((1 << 17) - 1)
    assert worst_case_inputs(graded(payload="excess"))["sum"] == 111 * ((1 << 17) - 1 - 3)
    assert worst_case_inputs(graded(message_bits=8))["sum"] == 111 * 127
    whole = graded(shift=0)
    assert worst_case_inputs(whole)["sum"] == 111 * ((1 << 23) - 1)
    first, onward = whole.connections
    wide = replace(whole, connections=(first, replace(onward, weight_exponent=2)))
    with pytest.raises(UsageError, match=r"from 'out' to 'sum'.*fewer bits in a message"):
        spoken(wide, 1)


def test_decay_rounds_towards_zero():
    graph = one_layer(np.array([[1], [-1]]), neurons(du=4095, dv=100, vth=9), 3)
    recording = run(graph, {"in": np.ones((1, 1, 1), int)}, record=["out"])
    # 64 * 3996 >> 12 = 62, and -62, which an arithmetic shift would make -63
    assert recording.v["out"][2, 0].tolist() == [62, -62]


def test_a_sum_is_shifted_not_its_terms():
    weight = np.array([[3, 3]])
    graph = one_layer(weight, neurons(vth=131071), 2, exponent=-1)
    recording = run(graph, {"in": np.ones((1, 1, 2), int)}, record=["out"])
    assert recording.u["out"][1, 0, 0] == 3 << 6  # (3 + 3) >> 1, not (3 >> 1) + (3 >> 1)


def test_delays_are_shifted_apart():
    weight = np.array([[3, 3]])
    graph = one_layer(weight, neurons(vth=131071), 4, delay=[[0, 1]], exponent=-1)
    recording = run(graph, {"in": np.ones((1, 1, 2), int)}, record=["out"])
    assert recording.u["out"][:, 0, 0].tolist() == [0, 1 << 6, 1 << 6, 0]


def test_what_registers_must_hold_is_reported():
    weight = np.full((1, 40), 254)
    graph = one_layer(weight, neurons(du=0, dv=0, vth=131071), 120)
    recording = run(graph, {"in": np.ones((120, 2, 40), int)}, record=["out"])
    found = recording.extremes["out"]
    assert found.largest_input == 40 * 254 == worst_case_inputs(graph)["out"]
    assert found.largest_u > 1 << 23
    assert found.wrapped_u > 0
    assert found.clipped_v > 0
    assert found.wrapped_inputs == 0
    narrow = run(graph, {"in": np.ones((120, 2, 40), int)}, accumulator_bits=12)
    assert narrow.extremes["out"].wrapped_inputs == 2 * 119


def test_spikes_alone_may_be_kept():
    graph = random_graph(5)
    inputs = random_input(graph, 5, 2)
    whole = run(graph, inputs, record=graph.populations)
    part = run(graph, inputs, record=graph.populations, record_states=False)
    assert whole.u.keys() == graph.populations.keys()
    assert part.u == part.v == {}
    for name in graph.populations:
        np.testing.assert_array_equal(whole.spikes[name], part.spikes[name])


def test_answers_by_spikes_and_by_potential():
    graph = one_layer(np.array([[10], [20], [30]]), neurons(dv=0, vth=[9, 131071, 25]), 4)
    recording = run(graph, {"in": np.ones((3, 1, 1), int)})
    assert recording.output_counts.tolist() == [[3, 0, 3]]
    assert answers(graph, recording).tolist() == [0]
    by_potential = IntegerGraph(**{**vars(graph), "decoding": "potential"})
    assert answers(by_potential, recording).tolist() == [1]


def test_no_samples_give_no_answers():
    graph = one_layer(np.ones((3, 2), int), neurons(), 4)
    recording = run(graph, {"in": np.ones((4, 0, 2), int)}, record=["out"])
    assert answers(graph, recording).shape == (0,)
    assert recording.extremes["out"] == (0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "has the sources"),
        ({"in": np.ones((1, 1, 2))}, "takes integers"),
        ({"in": np.ones((1, 1, 3), int)}, "expected"),
        ({"in": np.ones((9, 1, 2), int)}, "steps at most"),
        ({"in": np.full((1, 1, 2), 2)}, "carry 0 to 1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, said):
    graph = one_layer(np.ones((1, 2), int), neurons(), 4)
    with pytest.raises(UsageError, match=said):
        run(graph, inputs)


def test_an_unknown_population_to_record_is_refused():
    graph = one_layer(np.ones((1, 2), int), neurons(), 4)
    with pytest.raises(UsageError, match=r"no population 'aut'.*out"):
        run(graph, {"in": np.ones((1, 1, 2), int)}, record=["aut"])


def test_sums_that_may_not_fit_32_bits_are_refused():
    graph = one_layer(np.full((1, 300), 1 << 16), neurons(), 4, bits=8)
    with pytest.raises(UsageError, match="32 bits"):
        run(graph, {"in": np.ones((1, 1, 300), int)})
    assert integers(0).dtype == np.int32
