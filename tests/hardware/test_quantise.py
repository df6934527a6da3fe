"""Quantised networks do what the real ones do, as far as registers allow, or are refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from neuro.errors import DataError, UsageError
from neuro.hardware.calibration import Calibration
from neuro.hardware.fixed_point import run
from neuro.hardware.float_graph import (
    FloatConnection,
    FloatConvolution,
    FloatDense,
    FloatGraph,
    FloatNeuron,
    FloatPopulation,
    FloatSource,
)
from neuro.hardware.integer_graph import IntegerGraph, SoftReset
from neuro.hardware.messages import Messages, encode_inputs, ways_to_speak
from neuro.hardware.quantise import Quantised, depths, quantise
from neuro.hardware.registers import quantise_layer, weight_steps
from neuro.hardware.synapse_memory import synapse_format
from neuro.hardware.targets import TARGETS, target_named
from tests.hardware.float_run import run_float

LOIHI1, LOIHI2, MICROCODE = (TARGETS[name] for name in ("loihi1", "loihi2", "loihi2-microcode"))


def neuron(
    voltage_decay: float = 0.5,
    threshold: object = 1.0,
    current_decay: float = 0.0,
    soft: bool = False,
    inclusive: bool = True,
) -> FloatNeuron:
    return FloatNeuron(
        current_decay=np.asarray(current_decay),
        voltage_decay=np.asarray(voltage_decay),
        threshold=None if threshold is None else np.asarray(threshold, np.float64),
        soft_reset=soft,
        inclusive=inclusive,
    )


def layered(*layers: tuple[np.ndarray, FloatNeuron], bias: object = 0.0) -> FloatGraph:
    """Return dense layers in a row; the bias is that of the first."""
    populations, connections, before = {}, [], "input"
    for number, (weight, kind) in enumerate(layers):
        name = f"layer{number}"
        populations[name] = FloatPopulation(
            name=name,
            shape=(len(weight),),
            neuron=kind,
            bias=np.asarray(bias if number == 0 else 0.0),
        )
        dense = FloatDense(weight=weight.astype(np.float64))
        connections.append(FloatConnection(source=before, target=name, synapses=dense))
        before = name
    return FloatGraph(
        sources={"input": FloatSource(name="input", shape=(layers[0][0].shape[1],))},
        populations=populations,
        connections=tuple(connections),
        output=before,
        decoding="potential" if layers[-1][1].threshold is None else "spikes",
    )


def answers_of(graph: FloatGraph, inputs: np.ndarray) -> Calibration:
    """Return inputs ``[T, B, *shape]`` and what the float graph makes of them."""
    samples = [run_float(graph, {"input": inputs[:, b]}) for b in range(inputs.shape[1])]
    answers = {
        name: np.stack([sample[name] for sample in samples], 1) for name in graph.populations
    }
    for name, population in graph.populations.items():
        if population.neuron.threshold is None:
            answers[name] = answers[name][-1]
    return Calibration(inputs={"input": inputs}, answers=answers)


def shifted_spikes(quantised: Quantised, inputs: np.ndarray, float_graph: FloatGraph):
    """Run the whole graph and return spikes of each population, from the step its first input
    reaches it."""
    graph = quantised.graph
    recording = run(graph, encode_inputs(graph, {"input": inputs}), record=graph.populations)
    late = depths(float_graph)
    return {
        name: recording.spikes[name][late[name] : late[name] + len(inputs)]
        for name in graph.populations
    }, recording


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_what_registers_hold_exactly_is_exact(inclusive, seed):
    """Whole weights and thresholds that potentials meet often: ``>=`` and ``>`` keep apart."""
    rng = np.random.default_rng(seed)
    kinds = [neuron(1.0, 3.0, inclusive=inclusive), neuron(0.5, 2.0, inclusive=inclusive)]
    weights = [rng.integers(-2, 3, (12, 10)), rng.integers(-2, 3, (8, 12))]
    for weight in weights:
        weight[0, 0] = 2  # a power of two
    graph = layered(*zip(weights, kinds, strict=True))
    inputs = (rng.random((9, 20, 10)) < 0.4).astype(np.float64)
    calibration = answers_of(graph, inputs)
    other = answers_of(
        layered(*((w, replace(k, inclusive=not inclusive)) for w, k in
                  zip(weights, kinds, strict=True))), inputs)  # fmt: skip
    quantised = quantise(graph, LOIHI1, calibration, timesteps=9)
    spikes, _ = shifted_spikes(quantised, inputs, graph)
    for name in graph.populations:
        np.testing.assert_array_equal(spikes[name], calibration.answers[name])
        assert (spikes[name] != other.answers[name]).any()
    assert [layer.disagreement for layer in quantised.layers] == [0, 0]


def random_case(seed: int = 0, **kind: object) -> tuple[FloatGraph, np.ndarray]:
    rng = np.random.default_rng(seed)
    graph = layered(
        (rng.normal(0, 0.3, (40, 30)), neuron(**kind)),
        (rng.normal(0, 0.3, (30, 40)), neuron(**kind)),
        (rng.normal(0, 0.3, (5, 30)), neuron(1.0, None)),
        bias=rng.normal(0, 0.2, 40) if not kind.get("current_decay") else 0.0,
    )
    return graph, (rng.random((12, 60, 30)) < 0.3).astype(np.float64)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (LOIHI1, {}),
        (LOIHI1, {"inclusive": False, "voltage_decay": 0.9}),
        (LOIHI1, {"current_decay": 0.6, "voltage_decay": 0.8}),
        (MICROCODE, {"soft": True}),
    ],
)
def test_random_networks_keep_most_of_their_spikes(target, kind):
    graph, inputs = random_case(**kind)
    calibration = answers_of(graph, inputs)
    quantised = quantise(graph, target, calibration, timesteps=len(inputs))
    spikes, recording = shifted_spikes(quantised, inputs, graph)
    for layer in quantised.layers[:2]:
        # each population was chosen alone; the whole graph does the very same
        wrong = np.mean(spikes[layer.name] != calibration.answers[layer.name])
        assert wrong == layer.disagreement
        assert 0.05 < calibration.answers[layer.name].mean() < 0.6
        assert wrong < 0.03
        extremes = recording.extremes[layer.name]
        assert extremes.largest_input == layer.largest_input <= layer.worst_input
        assert extremes.largest_u == layer.largest_u <= layer.worst_u
        assert extremes.wrapped_u == extremes.clipped_v == 0
    soft = isinstance(quantised.graph.populations["layer0"].neuron, SoftReset)
    assert soft == bool(kind.get("soft"))
    # the read-out adds potentials up and never fires
    potentials = recording.final_v["layer2"] / (quantised.layers[2].scale * 64)
    expected = calibration.answers["layer2"]
    error = np.mean((potentials - expected) ** 2) / expected.var()
    assert error == pytest.approx(quantised.layers[2].disagreement)
    assert error < 0.05
    assert recording.events["layer2"].sum() == 0


def test_weights_are_even_and_registers_in_range():
    graph, inputs = random_case(3)
    quantised = quantise(graph, LOIHI1, answers_of(graph, inputs), timesteps=len(inputs)).graph
    for connection in quantised.connections:
        weight = connection.synapses.weight
        assert not (weight % 2).any()
        # an integrator's potential adds up: it has room for less
        least = 32 if connection.target == "layer2" else 100
        assert least <= np.abs(weight).max() <= 254
        assert connection.weight_exponent == 0
    for number, population in enumerate(quantised.populations.values()):
        registers = population.cuba
        for held, low, high in (
            (registers.du, 0, 4095),
            (registers.dv, 0, 4095),
            (registers.vth, 1, 131071),
        ):
            assert np.array_equal(np.clip(held, low, high), held)
        assert np.abs(registers.bias_mant).max() <= 4095
        # only a bias would not wait for the first input
        assert registers.start == (1 if number == 0 else None)
    assert quantised.metadata["depths"] == {"layer0": 1, "layer1": 2, "layer2": 3}
    assert quantised.steps == len(inputs) + 3
    assert quantised.decoding == "potential"


def test_registers_by_hand():
    graph = layered((np.array([[0.5, -0.25]]), neuron(0.75, 1.0)), bias=0.3)
    speech = {"input": Messages(0, np.ones(()), np.zeros(()))}
    layer = quantise_layer(graph, "layer0", speech=speech, fullness=1.0)
    assert layer is not None
    # 254 / 0.5 = 508: the threshold is 508, and S (508 + 1/64) / 1
    assert layer.scale == 508 + 1 / 64
    registers = layer.population.cuba
    assert (registers.du, registers.dv, registers.vth) == (4095, 1024, 508)
    assert layer.connections[0].synapses.weight.tolist() == [[254, -128]]  # -127.0 to even
    # 0.3 * S * 64 = 9753.9 = 2438 << 2
    assert (registers.bias_mant, registers.bias_exp) == (2438, 2)
    assert layer.clipped_weights == 0
    netx = quantise_layer(graph, "layer0", speech=speech, fullness=1.0, bias_exponent=6)
    assert netx is not None
    assert (netx.population.cuba.bias_mant, netx.population.cuba.bias_exp) == (152, 6)
    half = quantise_layer(graph, "layer0", speech=speech, fullness=2.0)
    assert half is not None
    assert half.connections[0].synapses.weight.tolist() == [[254, -254]]
    assert half.clipped_weights == 0.5


def test_thresholds_of_their_own_are_rounded():
    graph = layered((np.eye(2), neuron(0.5, [0.5, 1.0])))
    speech = {"input": Messages(0, np.ones(()), np.zeros(()))}
    layer = quantise_layer(graph, "layer0", speech=speech, fullness=1.0)
    assert layer is not None
    assert layer.population.cuba.vth.tolist() == [127, 254]
    assert quantise_layer(graph, "layer0", speech=speech, fullness=2**40) is None


def test_constant_inputs_travel_as_messages():
    rng = np.random.default_rng(1)
    graph = layered((rng.normal(0, 0.3, (30, 16)), neuron()), (rng.normal(0, 1, (4, 30)), neuron()))
    grey = rng.integers(0, 17, (1, 40, 16)) / 16
    source = FloatSource(name="input", shape=(16,), grain=np.asarray(1 / 16))
    graph = replace(graph, sources={"input": source})
    inputs = np.broadcast_to(grey, (8, 40, 16))
    quantised = quantise(graph, LOIHI2, answers_of(graph, inputs), timesteps=8)
    messages = encode_inputs(quantised.graph, {"input": inputs})["input"]
    assert messages.strides[0] == 0  # encoded once
    assert quantised.layers[0].disagreement < 0.02
    with pytest.raises(UsageError, match=r"loihi1 carry none.*latency"):
        quantise(graph, LOIHI1, answers_of(graph, inputs), timesteps=8)


def test_ways_to_speak():
    source = FloatSource(name="input", shape=(2,))
    spikes = np.array([[[0.0, 1.0]]])
    assert [way.bits for way in ways_to_speak(source, spikes, 0, "chip")] == [0]
    assert [way.bits for way in ways_to_speak(source, 5 * spikes, 8, "chip")] == [4]
    assert [way.bits for way in ways_to_speak(source, spikes - 1, 8, "chip")] == [2]
    grey = FloatSource(name="input", shape=(2,), grain=np.asarray(1 / 51), offset=np.asarray(-0.5))
    x = np.arange(256).reshape(1, 128, 2) / 51 - 0.5
    ways = ways_to_speak(grey, x, 8, "chip")
    for way in ways:
        messages = way.encode(x)
        low, high = -(1 << way.bits - 1), (1 << way.bits - 1) - 1
        assert low <= messages.min()
        assert messages.max() <= high
        back = way.offset + way.unit * messages
        assert np.abs(back - x).max() <= way.unit / 2 + 1e-12
    finest = min(float(way.unit) for way in ways if way.offset)
    assert finest == pytest.approx(255 / 127 / 51)
    assert any(not way.offset for way in ways)


def test_counts_of_events_on_a_chip_whose_spikes_are_events():
    source = FloatSource(name="input", shape=(2,))
    with pytest.raises(UsageError, match=r"count events \(0 to 3 in a step\).*loihi2"):
        ways_to_speak(source, np.array([[[0.0, 3.0]]]), 0, "chip")


def convolutional(offset: float) -> tuple[FloatGraph, np.ndarray]:
    """Images with an offset, a convolution with a border, and a path that skips a layer."""
    rng = np.random.default_rng(2)
    kinds = {"one": (3, 6, 6), "two": (3, 6, 6), "out": (5,)}
    first = FloatConvolution(weight=rng.normal(0, 0.5, (3, 2, 3, 3)), padding=(1, 1))
    second = FloatConvolution(weight=rng.normal(0, 0.2, (3, 3, 3, 3)), padding=(1, 1))
    skip = FloatConvolution(weight=np.full((3, 1, 1, 1), 1.5), groups=3)
    graph = FloatGraph(
        sources={
            "input": FloatSource(
                name="input",
                shape=(2, 6, 6),
                grain=np.array([1 / 16, 1 / 8]).reshape(2, 1, 1),
                offset=np.array([-offset, offset]).reshape(2, 1, 1),
            )
        },
        populations={
            name: FloatPopulation(
                name=name,
                shape=shape,
                neuron=neuron(1.0, None) if name == "out" else neuron(0.5, 0.7),
                bias=np.zeros(()),
            )
            for name, shape in kinds.items()
        },
        connections=(
            FloatConnection(source="input", target="one", synapses=first),
            FloatConnection(source="one", target="two", synapses=second),
            FloatConnection(source="one", target="out",
                            synapses=FloatDense(weight=rng.normal(0, 0.01, (5, 108)))),
            FloatConnection(source="input", target="two", delay=1,
                            synapses=FloatConvolution(weight=rng.normal(0, 0.3, (3, 2, 3, 3)),
                                                      padding=(1, 1))),
            FloatConnection(source="one", target="two", synapses=skip),
            FloatConnection(source="two", target="out",
                            synapses=FloatDense(weight=rng.normal(0, 0.3, (5, 108)))),
        ),
        output="out",
        decoding="potential",
    )  # fmt: skip
    raw = rng.integers(0, 17, (1, 30, 2, 6, 6))
    source = graph.sources["input"]
    return graph, np.broadcast_to(raw * source.grain + source.offset, (6, 30, 2, 6, 6))


@pytest.mark.parametrize("offset", [0.0, 0.4])
def test_convolutions_and_paths_of_different_lengths(offset):
    graph, inputs = convolutional(offset)
    if offset:  # silence stands for a number, which a delayed path would have to delay
        connections = tuple(replace(each, delay=0) for each in graph.connections)
        graph = replace(graph, connections=connections)
    calibration = answers_of(graph, inputs)
    quantised = quantise(graph, LOIHI2, calibration, timesteps=6)
    spikes, recording = shifted_spikes(quantised, inputs, graph)
    for layer in quantised.layers[:2]:
        wrong = np.mean(spikes[layer.name] != calibration.answers[layer.name])
        assert wrong == layer.disagreement < 0.03
    assert quantised.layers[2].disagreement < 0.02
    by_ends = {(each.source, each.target): each for each in quantised.graph.connections}
    assert by_ends["one", "out"].delay == 1
    assert by_ends["input", "two"].delay == 1 + (offset == 0)
    # weak weights are finer than strong ones of the same population
    assert by_ends["one", "out"].weight_exponent <= by_ends["two", "out"].weight_exponent
    potentials = recording.final_v["out"].argmax(1)
    assert np.mean(potentials == calibration.answers["out"].argmax(1)) > 0.9


def test_what_a_chip_cannot_hold_is_refused_by_name():
    inputs = np.ones((4, 3, 2))
    weight = np.array([[0.5, 0.7]])

    def refused(said: str, *layers, target=LOIHI2, bias=0.0, **changes):
        graph = replace(layered(*layers, bias=bias), **changes)
        with pytest.raises(UsageError, match=said):
            quantise(graph, target, answers_of(graph, inputs), timesteps=4)

    refused(r'layer0: .*reset = "hard", or export for loihi2-micro', (weight, neuron(soft=True)))
    refused("bias that passes", (weight, neuron(current_decay=0.5)), bias=0.3)
    refused("keeps nothing", (weight, neuron(voltage_decay=0.0)))
    refused("never decays", (weight, neuron(current_decay=1.0)))
    refused("between 0 and 1", (weight, neuron(voltage_decay=1.5)))
    refused("all its weights are zero", (0 * weight, neuron()))
    refused("at no scale", (weight, neuron()), bias=1e6)
    connection = FloatConnection(
        source="input", target="layer0", synapses=FloatDense(weight=weight), delay=63
    )
    refused("a delay of 63", (weight, neuron()), connections=(connection,))


def test_samples_that_do_not_fit_are_refused():
    graph, inputs = random_case()
    calibration = answers_of(graph, inputs)
    for wrong, said in (
        (replace(calibration, inputs={}), "no samples for 'input'"),
        (replace(calibration, inputs={"input": inputs[..., :3]}), "expected"),
        (replace(calibration, answers={}), "does not say what 'layer0'"),
    ):
        with pytest.raises(UsageError, match=said):
            quantise(graph, LOIHI1, wrong, timesteps=12)


def test_inputs_of_a_graph_that_was_not_quantised_are_refused():
    graph, inputs = random_case()
    made = quantise(graph, LOIHI1, answers_of(graph, inputs), timesteps=12).graph
    plain = IntegerGraph(**{**vars(made), "metadata": {}})
    with pytest.raises(DataError, match="messages of 'input'"):
        encode_inputs(plain, {"input": inputs})
    with pytest.raises(UsageError, match="no input for 'input'"):
        encode_inputs(made, {"in": inputs})


def test_an_unknown_chip_names_the_nearest():
    with pytest.raises(UsageError, match="loihi2"):
        target_named("loihi_2")
    assert target_named("loihi1") is LOIHI1


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_fill_the_upper_bits_of_eight(bits):
    step, largest = weight_steps(bits)
    assert (256 - step, 2**9) == (largest, step * 2**bits)
    graph, inputs = random_case()
    target = replace(LOIHI1, weight_bits=bits)
    made = quantise(graph, target, answers_of(graph, inputs), timesteps=12).graph
    assert made.metadata["weight_bits"] == bits
    for connection in made.connections:
        weight = connection.synapses.weight
        assert not np.any(weight % step)
        assert np.abs(weight).max() <= largest
        assert synapse_format(connection).weight_bits <= bits


@pytest.mark.parametrize("bits", [1, 9])
def test_weights_have_2_to_8_bits(bits):
    with pytest.raises(UsageError, match="2 to 8 bits"):
        replace(LOIHI1, weight_bits=bits)


def test_quantising_takes_no_torch():
    code = "import sys, neuro.hardware.quantise\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
