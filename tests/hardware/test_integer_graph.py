"""Integer graphs: what is refused, and that a file gives back what was written."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from neuro.errors import DataError, UsageError
from neuro.hardware.integer_graph import (
    Convolution,
    Cuba,
    Dense,
    Source,
    kind_of,
    read_graph,
    target_shape,
    write_graph,
)
from neuro.hardware.microcode import GradedSpikes, SoftReset
from tests.hardware.graphs import (
    assert_same,
    integers,
    neurons,
    one_layer,
    random_graph,
    seeds,
    sparse,
)


@settings(max_examples=30, deadline=None)
@given(seeds())
def test_a_file_gives_back_the_graph(tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("graph")
    graph = replace(random_graph(seed), metadata={"encoding": "direct"})
    write_graph(graph, folder)
    assert_same(read_graph(folder), graph)


def test_what_is_no_graph_is_refused(tmp_path):
    graph = random_graph(1)
    with pytest.raises(DataError, match="cannot read"):
        read_graph(tmp_path)
    write_graph(graph, tmp_path)
    table = (tmp_path / "graph.json").read_text()
    (tmp_path / "graph.json").write_text(table.replace('"version": 1', '"version": 7'))
    with pytest.raises(DataError, match="version 1"):
        read_graph(tmp_path)
    (tmp_path / "graph.json").write_text(table.replace('"kind": "cuba"', '"kind": "izhikevich"'))
    with pytest.raises(DataError, match="izhikevich"):
        read_graph(tmp_path)
    (tmp_path / "graph.json").write_text(table)
    (tmp_path / "graph.npz").write_bytes((tmp_path / "graph.npz").read_bytes()[:-30])
    with pytest.raises(DataError):
        read_graph(tmp_path)


def test_graphs_that_do_not_fit_are_refused():
    graph = one_layer(np.ones((2, 3), int), neurons(), 4)
    (connection,) = graph.connections
    for changes, said in (
        ({"output": "aut"}, 'no population.*"out"'),
        ({"sources": {"out": Source(name="out", shape=(3,))}}, "source and a population"),
        ({"connections": (replace(connection, source="im"),)}, "called 'im'"),
        ({"connections": (replace(connection, target="in"),)}, "which is a source"),
        ({"connections": (replace(connection, delay=integers([1, 2])),)}, "delays"),
        ({"connections": (replace(connection, synapses=Dense(weight=integers([[1]]))),)}, "column"),
        (
            {"connections": (replace(connection, synapses=sparse(np.ones((2, 4)))),)},
            "neuron 3 of 3",
        ),
        (
            {"connections": (replace(connection, synapses=sparse(np.ones((5, 3)))),)},
            r"make \(5,\)",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            replace(graph, **changes)


def test_shape_of_a_convolution_is_torchs():
    weight = integers(np.zeros((4, 1, 3, 2)))
    synapses = Convolution(weight=weight, stride=(2, 1), padding=(1, 0), dilation=(1, 3), groups=2)
    assert target_shape(synapses, (2, 8, 9)) == (4, 4, 6)
    assert kind_of(synapses) == "convolution"
    with pytest.raises(UsageError, match="2 channels"):
        target_shape(synapses, (3, 8, 9))


def test_microcode_is_refused_where_plain_neurons_are_expected():
    graph = one_layer(np.ones((2, 3), int), SoftReset(neurons()), 4)
    with pytest.raises(UsageError, match="hard"):
        _ = graph.populations["out"].cuba
    plain = one_layer(np.ones((2, 3), int), neurons(), 4)
    assert plain.populations["out"].cuba is plain.populations["out"].neuron
    with pytest.raises(UsageError, match="vth_low"):
        SoftReset(neurons(vth_low=integers(-1)))
    graded = one_layer(np.ones((2, 3), int), GradedSpikes(neurons()), 4)
    with pytest.raises(UsageError, match=r"send numbers .*Loihi 1 carry none.*plain spikes"):
        _ = graded.populations["out"].cuba


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"payload": "current"}, "carries potential or excess, not 'current'"),
        ({"message_bits": 1}, r"message_bits is 1; expected 2\.\.24"),
        ({"message_bits": 25}, "message_bits is 25"),
        ({"message_bits": 8.0}, "message_bits is 8.0"),
        ({"message_bits": True}, "message_bits is True"),
        ({"shift": -1}, r"shift is -1; expected 0\.\.23"),
        ({"shift": 24}, "shift is 24"),
        ({"registers": neurons(vth=[3, -1])}, "thresholds of 0 at least"),
        ({"registers": neurons(vth_low=integers(-1))}, "vth_low"),
    ],
)
def test_graded_spikes_out_of_range_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        GradedSpikes(**{"registers": neurons(), **settings})


def test_a_file_gives_back_graded_spikes_and_is_held_to_their_range(tmp_path):
    program = GradedSpikes(neurons(vth=[7, 9]), "excess", message_bits=12, shift=3)
    graph = one_layer(np.ones((2, 3), int), program, 4)
    write_graph(graph, tmp_path)
    assert_same(read_graph(tmp_path), graph)
    table = (tmp_path / "graph.json").read_text()
    for old, new, said in (
        ('"shift": 3', '"shift": 24', r"graph.json: graded spikes: shift is 24"),
        ('"shift": 3', '"shift": "3"', "shift is '3'"),
        ('"excess"', '"everything"', "not 'everything'"),
        ('"shift": 3', '"places": 3', "of another kind"),
        ('"graded_spikes"', '"cuba"', "of another kind"),
    ):
        assert old in table
        (tmp_path / "graph.json").write_text(table.replace(old, new))
        with pytest.raises(DataError, match=said):
            read_graph(tmp_path)


def test_what_spikes_can_carry():
    def carried(neuron):
        return one_layer(np.ones((2, 3), int), neuron, 4).populations["out"].message_range

    assert carried(neurons()) == carried(SoftReset(neurons())) == (0, 1)
    assert carried(neurons(vth_low=integers(-1))) == (-1, 1)
    assert carried(GradedSpikes(neurons(vth=3))) == (0, (1 << 17) - 1)
    assert carried(GradedSpikes(neurons(vth=3), shift=0)) == (0, (1 << 23) - 1)
    assert carried(GradedSpikes(neurons(vth=[9, 3]), "excess")) == (0, (1 << 17) - 4)
    assert carried(GradedSpikes(neurons(vth=131071), "excess")) == (0, 0)


def test_fractions_are_refused_and_numbers_become_arrays():
    assert neurons(vth=3).vth.dtype == np.int32
    for make in (
        lambda: Dense(weight=np.array([[0.5]])),
        lambda: Cuba(du=4095, dv=0, vth=1.5),
        lambda: Cuba(du=4095, dv=0, vth=2**40),
    ):
        with pytest.raises(UsageError, match="no 32-bit integers"):
            make()


def test_steps_before_which_neurons_are_zeroed():
    neuron = neurons(start=2, interval=3)
    assert [neuron.zeroed_before(step) for step in range(9)] == [
        step in (2, 5, 8) for step in range(9)
    ]
    assert not any(neurons().zeroed_before(step) for step in range(3))
    assert [neurons(start=1).zeroed_before(step) for step in range(3)] == [False, True, False]


def test_graphs_are_read_and_run_without_torch():
    code = (
        "import sys\n"
        "import neuro.hardware.integer_graph, neuro.hardware.fixed_point\n"
        "import neuro.hardware.fixed_point_reference\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
