"""Integer graphs as NIR: the nodes do what the integers do, and the integers come back whole."""

from dataclasses import replace

import nir
import numpy as np
import pytest
import torch

from neuro.errors import DataError, UsageError
from neuro.hardware.fixed_point import run
from neuro.hardware.microcode import GradedSpikes, SoftReset
from neuro.hardware.nir import (
    from_nir,
    integers_from_nir,
    integers_to_nir,
    interpret,
    read_nir,
    write_nir,
)
from neuro.layers import Network
from tests.hardware.graphs import assert_same
from tests.hardware.lava.build import convolution, dense, graph, integers, neurons, sparse

STEPS = 30
RNG = np.random.default_rng(4)


def summing(vth=300, **more):
    """Return neurons without decay, of which real numbers make the same."""
    return neurons(du=4095, dv=0, vth=vth, **more)


def weights(*shape, largest=200):
    """Return weights of both signs, more of them above 0."""
    return RNG.integers(-largest // 2, largest + 1, shape)


def both(made, batch=8):
    """Return the output's spikes (potentials, where they answer) of the integers and of NIR."""
    (source,) = made.sources.values()
    rng = np.random.default_rng(6)
    given = rng.integers(*source.message_range, (STEPS, batch, *source.shape), endpoint=True)
    recording = run(made, {source.name: given[: made.steps]}, record=[made.output])
    written = integers_to_nir(made)
    steps = written.metadata["steps"]
    model = interpret(written)
    found, _ = model.sequence(torch.as_tensor(given[:steps], dtype=torch.float32))
    mine = recording.spikes if made.decoding == "spikes" else recording.v
    return mine[made.output][made.steps - steps :], found.detach().numpy()


LOOP = [dense("in", "out", weights(6, 7)), dense("out", "out", weights(6, 6, largest=100))]
EXACT = {
    "dense": graph(
        {"in": 7},
        {"one": (9, summing()), "out": (6, summing(200))},
        dense("in", "one", weights(9, 7)),
        dense("one", "out", weights(6, 9), exponent=1),
    ),
    "delays": graph(
        {"in": 7},
        {"one": (9, summing()), "out": (6, summing())},
        dense("in", "one", weights(9, 7), RNG.integers(2, 6, (9, 7))),
        dense("one", "out", weights(6, 9), 3),
    ),
    "past a layer": graph(
        {"in": 7},
        {"one": (9, summing()), "out": (6, summing())},
        dense("in", "one", weights(9, 7)),
        dense("one", "out", weights(6, 9)),
        dense("in", "out", weights(6, 7), 4),
    ),
    "sparse, some twice": graph(
        {"in": 7}, {"out": (6, summing())}, sparse("in", "out", weights(6, 7), doubled=4)
    ),
    "loop": graph({"in": 7}, {"out": (6, summing())}, *LOOP),
    "delayed loop": graph(
        {"in": 7}, {"out": (6, summing())}, LOOP[0], replace(LOOP[1], delay=integers(2))
    ),
    "loop over two": graph(
        {"in": 7},
        {"one": (9, summing()), "out": (6, summing())},
        dense("in", "one", weights(9, 7)),
        dense("one", "out", weights(6, 9)),
        dense("out", "one", weights(9, 6, largest=80), 1),
    ),
    "convolution": graph(
        {"in": (2, 6, 5)},
        {"maps": ((4, 3, 3), summing()), "out": (6, summing())},
        convolution("in", "maps", weights(4, 1, 3, 3), stride=(2, 2), padding=(1, 1), groups=2),
        dense("maps", "out", weights(6, 36)),
    ),
    "bias and thresholds": graph(
        {"in": 7},
        {"out": (6, summing(np.arange(6) * 50, bias_mant=np.arange(6) * 30, start=1))},
        dense("in", "out", weights(6, 7)),
    ),
    "graded input": graph(
        {"in": 7}, {"out": (6, summing(2000))}, dense("in", "out", weights(6, 7)), bits=5
    ),
}


@pytest.mark.parametrize("scale", [1.0, 254 / 3])
@pytest.mark.parametrize("name", EXACT)
def test_without_decay_the_spikes_are_those_of_the_integers(name, scale):
    made = replace(EXACT[name], metadata={"scales": dict.fromkeys(EXACT[name].populations, scale)})
    mine, theirs = both(made)
    np.testing.assert_array_equal(mine, theirs)
    assert 0.02 < mine.mean() < 0.98


@pytest.mark.parametrize(
    "registers",
    [
        {"du": 4095, "dv": 700},
        {"du": 4095, "dv": 700, "bias_mant": 2000, "bias_exp": 2, "start": 1},
        {"du": 1200, "dv": 300},
        {"du": 1200, "dv": [300, 500, 700, 900, 1100, 4096]},
        {"du": 1200, "dv": 300, "bias_mant": 700, "start": 1},
    ],
)
def test_decays_differ_by_rounding_alone(registers):
    layer = (6, neurons(vth=600, **registers))
    made = graph({"in": 7}, {"out": layer}, dense("in", "out", weights(6, 7)))
    mine, theirs = both(made, batch=20)
    assert (mine != 0).sum() > 200
    assert np.mean(mine == theirs) > 0.99


@pytest.mark.parametrize(
    ("registers", "kinds"),
    [
        ({"du": 4095, "dv": 0}, {nir.I}),
        ({"du": 4095, "dv": 400}, {nir.LI}),
        ({"du": 900, "dv": 0}, {nir.LI, nir.I}),
        ({"du": 900, "dv": 400}, {nir.CubaLI}),
    ],
)
def test_a_population_that_answers_with_its_potential_integrates(registers, kinds):
    output = neurons(vth=131071, **registers)
    made = replace(
        graph({"in": 7}, {"out": (6, output)}, dense("in", "out", weights(6, 7))),
        decoding="potential",
    )
    assert {type(each) for each in integers_to_nir(made).nodes.values()} >= kinds
    mine, theirs = both(made)
    # a current loses less than 1/64 a step to rounding, for 4096/901 steps; they add up
    np.testing.assert_allclose(mine / 64, theirs, atol=2 * len(mine) / 64 * 4096 / 901)
    assert np.abs(theirs).max() > 500


@pytest.mark.parametrize("name", EXACT)
def test_the_integers_come_back_from_the_file(name, tmp_path):
    made = replace(EXACT[name], metadata={"scales": {"out": 2.5}, "note": None, "list": [1, "a"]})
    write_nir(integers_to_nir(made), tmp_path / "g.nir")
    assert_same(integers_from_nir(tmp_path / "g.nir"), made)
    stored = read_nir(tmp_path / "g.nir").metadata["integers"]["arrays"]
    np.testing.assert_array_equal(stored["out.vth"], made.populations["out"].cuba.vth)


def test_nodes_say_the_formulas():
    layer = neurons(du=4095, dv=1024, vth=80)
    made = graph({"in": 1}, {"out": (1, layer)}, dense("in", "out", [[6]], exponent=1))
    made = replace(made, metadata={"scales": {"out": 4.0}})
    _, synapse, lif, _ = integers_to_nir(made, dt=1e-3).nodes.values()
    assert synapse.weight.item() == 6 * 2 / 4 * 4  # over S, and over 1 - b
    assert (lif.tau.item(), lif.r.item()) == (np.float32(4e-3), 1)
    assert lif.v_threshold.item() == np.float32((80 + 1 / 128) / 4)
    made = replace(made, populations={"out": replace(made.populations["out"], neuron=neurons(
        du=1023, dv=1024, vth=80, bias_mant=64, start=1))})  # fmt: skip
    _, synapse, cuba, _ = integers_to_nir(made, dt=1e-3).nodes.values()
    assert synapse.weight.item() == 6 * 2 / 4
    constants = (cuba.tau_syn, cuba.tau_mem, cuba.w_in, cuba.r, cuba.v_leak)
    assert [each.item() for each in constants] == [
        np.float32(4e-3), np.float32(4e-3), 4, 4, 1 / 4 * 4]  # fmt: skip


def test_dialects_take_what_their_readers_know():
    for target in ("norse", "snntorch", "spikingjelly"):
        layer = neurons(du=4095, dv=1024, vth=80)
        made = graph({"in": 7}, {"out": (6, layer)}, dense("in", "out", weights(6, 7)))
        written = integers_to_nir(made, target=target)
        assert written.metadata["target"] == target
        assert_same(integers_from_nir(written), made)
        assert isinstance(from_nir(written), Network)
        with pytest.raises(UsageError, match="Delay"):
            integers_to_nir(EXACT["delays"], target=target)


def refused(neuron=None, connection=None, **changes):
    layer = (6, neuron if neuron is not None else summing())
    made = graph({"in": 7}, {"out": layer}, connection or dense("in", "out", weights(6, 7)))
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: refused(SoftReset(summing())), "subtract their threshold"),
        (lambda: refused(GradedSpikes(summing())), "send numbers"),
        (lambda: refused(summing(vth_low=-5)), "send -1"),
        (lambda: refused(summing(start=2)), "not zeroed at a step.*start at step 1"),
        (lambda: refused(summing(start=1, interval=4)), "not zeroed at a step"),
        (lambda: refused(summing(bias_mant=3)), "its bias drives it before.*at step 1"),
        (lambda: refused(neurons(du=100, dv=0)), "without leak"),
        (lambda: refused(neurons(du=-1, dv=10)), "never decays"),
        (lambda: refused(neurons(du=4095, dv=[0, 1, 1, 1, 1, 1])), "some do not"),
        (lambda: graph({"a": 1, "b": 1}, {"out": (1, summing())}, dense("a", "out", [[2]]),
                       dense("b", "out", [[2]])), "one Input.*'a', 'b'"),
        (lambda: graph({"in": 1}, {"a": (1, summing()), "out": (1, summing())},
                       dense("in", "out", [[2]])), "a: nothing drives it"),
        (lambda: graph({"in": 2}, {"out": ((2, 1, 1), summing())},
                       dense("in", "out", [[2, 0], [2, 2]])), "sends vectors"),
        (lambda: graph({"in": (1, 3, 3)}, {"out": ((1, 2, 3), summing())},
                       convolution("in", "out", [[[[2], [4]]]])), "2x1.*square"),
        (lambda: graph({"in": 1}, {"out": (1, summing()), "late": (1, summing())},
                       dense("in", "out", [[2]], 5), dense("late", "out", [[2]]),
                       dense("in", "late", [[2]])), "put it first in the graph"),
    ],
)  # fmt: skip
def test_what_nir_cannot_say_is_refused_by_name(make, said):
    with pytest.raises(UsageError, match=said):
        integers_to_nir(make())


def test_integers_are_read_only_where_there_are_some(tmp_path):
    written = integers_to_nir(EXACT["dense"])
    whole = written.metadata["integers"]
    with pytest.raises(UsageError, match="dt is a positive"):
        integers_to_nir(EXACT["dense"], dt=0)
    for found, said in (
        ({}, "its integers are damaged"),
        ({**whole, "graph": "{"}, "its integers are damaged"),
        ({**whole, "graph": "{}"}, "not an integer graph"),
        ({**whole, "arrays": {}}, "incomplete"),
    ):
        written.metadata["integers"] = found
        with pytest.raises(DataError, match=said):
            integers_from_nir(written)
    del written.metadata["integers"]
    write_nir(written, tmp_path / "g.nir")
    with pytest.raises(UsageError, match=r"g\.nir holds no integers"):
        integers_from_nir(tmp_path / "g.nir")
