"""Files of layers: what is written is read again, and what netx would change is refused."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuro.errors import DataError, UsageError
from neuro.hardware import fixed_point
from neuro.hardware.integer_graph import Dense
from neuro.hardware.lava.chain import layers, network_options
from neuro.hardware.lava.netx import read_net, write_net
from neuro.hardware.lava.netx_rules import netx_findings
from tests.hardware.lava.build import (
    convolution,
    dense,
    even,
    graph,
    integers,
    neurons,
    one_layer,
    sparse,
    spikes,
)

RNG = np.random.default_rng(0)


def rules(whole) -> list[str]:
    return [each.rule for each in netx_findings(whole)]


def picture(**how):
    """Return convolution, dense and recurrent layers."""
    rng = np.random.default_rng(3)
    hidden = neurons(
        dv=rng.integers(0, 4096, (3, 4, 5)),
        vth=100,
        bias_mant=[[[1]], [[-2]], [[3]]],
        bias_exp=6,
        start=how.get("start"),
    )
    second = neurons(du=rng.integers(-1, 4096, (2, 4)), vth=90, start=how.get("start") and 2)
    last = neurons(vth=50, start=how.get("start") and 3)
    return graph(
        {"in": (2, 4, 5)},
        {"hidden": ((3, 4, 5), hidden), "second": ((2, 4), second), "out": (4, last)},
        convolution("in", "hidden", even(rng, 3, 2, 3, 3), padding=(1, 1)),
        dense("hidden", "second", even(rng, 8, 60), rng.integers(0, 5, (8, 60))),
        dense("second", "out", even(rng, 4, 8)),
        dense("out", "out", even(rng, 4, 4)),
    )


@pytest.mark.parametrize("start", [None, 1])
def test_a_graph_is_read_as_it_was_written(tmp_path, start):
    whole = picture(start=start)
    write_net(whole, tmp_path / "a.net")
    back = read_net(tmp_path / "a.net")
    assert (back.sources["in"].shape, back.output, back.steps) == ((2, 4, 5), "out", 20)
    assert {n: p.shape for n, p in back.populations.items()} == {
        n: p.shape for n, p in whole.populations.items()
    }
    assert [p.cuba.start for p in back.populations.values()] == [
        p.cuba.start for p in whole.populations.values()
    ]
    inputs = {"in": spikes(RNG, 20, 3, 2, 4, 5)}
    names = list(whole.populations)
    expected = fixed_point.run(whole, inputs, record=names)
    found = fixed_point.run(back, inputs, record=names)
    for name in names:
        assert expected.spikes[name].any()
        np.testing.assert_array_equal(found.v[name], expected.v[name])
        np.testing.assert_array_equal(found.u[name], expected.u[name])
    assert [path.name for path in tmp_path.iterdir()] == ["a.net"]


def test_the_file_is_laid_out_as_netx_wants_it(tmp_path):
    write_net(picture(), tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net") as file:
        kinds = [bytes(file[f"layer/{n}/type"][0]) for n in range(len(file["layer"]))]
        assert kinds == [b"input", b"conv", b"flatten", b"dense", b"dense_rec"]
        assert file["layer/0/type"].dtype == "S10"
        assert file["layer/1/weight"].dtype == np.float32
        assert file["layer/1/bias"][()].tolist() == [1, -2, 3]
        assert file["layer/1/neuron/vDecay"].shape == (5, 4, 3)  # [W, H, C], as Lava holds it
        assert file["layer/3/delay"].shape == (8, 60)
        assert "delay" not in file["layer/4"]
        assert file["layer/4/neuron/type"][()] == b"CUBA"
        assert file["layer/4/neuron/iDecay"][()] == 401
        assert "neuron/messageBits" not in file["layer/4"]


def test_files_are_written_and_read_where_neither_lava_nor_torch_is(tmp_path):
    script = """
import sys
from pathlib import Path
sys.modules["torch"] = sys.modules["lava"] = None  # importing them fails
from neuro.hardware.lava.netx import read_net, write_net
from tests.hardware.lava.build import neurons, one_layer
write_net(one_layer([[2, -2]], neurons()), Path(sys.argv[1]))
assert read_net(Path(sys.argv[1])).output == "out"
"""
    command = [sys.executable, "-c", script, str(tmp_path / "a.net")]
    subprocess.run(command, check=True, cwd=Path(__file__).resolve().parents[3])


def test_sparse_synapses_and_exponents_become_a_matrix(tmp_path):
    weight = [[0, 6, 0], [-4, 0, 2]]
    thin = sparse("in", "out", weight, delay=[[1, 2, 3], [4, 5, 6]])
    shifted = type(thin)(**{**vars(thin), "weight_exponent": 3})
    whole = graph({"in": 3}, {"out": (2, neurons())}, shifted)
    write_net(whole, tmp_path / "a.net")
    (connection,) = read_net(tmp_path / "a.net").connections
    assert isinstance(connection.synapses, Dense)
    assert connection.synapses.weight.tolist() == [[0, 48, 0], [-32, 0, 16]]
    assert connection.delay.tolist() == [[0, 2, 0], [4, 0, 6]]


def test_what_the_network_must_be_told_beside_the_file():
    assert network_options(picture(), 20) == {}
    assert network_options(picture(start=1), 20) == {"reset_interval": 25, "reset_offset": 1}
    graded = one_layer([[2]], neurons(start=0, interval=5), bits=8)
    assert network_options(graded, 20) == {
        "input_message_bits": 8,
        "reset_interval": 5,
        "reset_offset": 0,
    }


@pytest.mark.parametrize(
    ("whole", "rule"),
    [
        (one_layer([[129, -1]], neurons()), "odd-weights"),
        (one_layer([[0, 0]], neurons()), "netx-zero-weights"),
        (one_layer([[-128, 0]], neurons()), "netx-negative-power"),
        (one_layer([[-64, -2]], neurons()), "netx-negative-power"),
        (one_layer([[256, 0]], neurons()), "weight-range"),
        (one_layer([[2, -2]], neurons(), exponent=-2), "negative-exponent"),
        (one_layer([[2]], neurons(), delay=63), "delay"),
        (one_layer([[2]], neurons(vth_low=-3)), "netx-ternary"),
        (one_layer([[2]], neurons(bias_mant=32)), "netx-bias"),
        (one_layer([[2]], neurons(bias_mant=4096, bias_exp=7)), "netx-bias"),
        (one_layer([[2]], neurons(start=9, interval=5)), "reset-start"),
        (one_layer([[2]], neurons(vth=131072)), "register"),
        (one_layer([[2]], neurons(dv=4097)), "register"),
    ],
)
def test_what_netx_would_change_is_refused(whole, rule, tmp_path):
    assert rules(whole) == [rule]
    with pytest.raises(UsageError, match=rule):
        write_net(whole, tmp_path / "a.net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "weight",
    [
        [[127, -127]],  # odd within 127: doubled, with exponent -1
        [[-254, 0]],
        [[-128, 2]],
        [[-256, 254]],
        [[255, 3]],
        [[-255, -1]],
        [[-96, 0]],
    ],
)
def test_what_netx_keeps_is_accepted(weight):
    assert rules(one_layer(weight, neurons())) == []


def test_a_recurrent_layer_shares_its_weights_format():
    def recurrent(weight, within, **how):
        return graph(
            {"in": 2},
            {"out": (2, neurons())},
            dense("in", "out", weight),
            dense("out", "out", within, **how),
        )

    even_ones = [[2, -2], [4, 6]]
    assert rules(recurrent(even_ones, even_ones)) == []
    assert rules(recurrent([[0, 0], [0, 0]], even_ones)) == []
    assert rules(recurrent([[-128, 0], [0, 0]], [[2, 2], [2, 2]])) == ["netx-negative-power"]
    assert rules(recurrent(even_ones, even_ones, delay=1)) == ["netx-recurrent-delay"]


def test_convolutions_without_what_netx_knows_are_refused():
    def through(neuron=None, **how):
        neuron = neuron or neurons()
        made = convolution("in", "out", how.pop("weight", [[[[2]]]]), how.pop("exponent", 0))
        late = type(made)(**{**vars(made), "delay": integers(how.pop("delay", 0))})
        return graph({"in": (1, 2, 2)}, {"out": ((1, 2, 2), neuron)}, late)

    assert rules(through()) == []
    assert rules(through(delay=1)) == ["netx-convolution-delay"]
    assert rules(through(weight=[[[[3]]]], exponent=-1)) == ["negative-exponent"]
    assert rules(through(weight=[[[[300]]]])) == ["weight-range"]
    uneven = neurons(bias_mant=[[[0, 64], [0, 0]]])
    assert rules(through(uneven)) == ["netx-bias"]
    behind = graph(
        {"in": 4},
        {"flat": ((1, 2, 2), neurons()), "out": ((1, 2, 2), neurons())},
        dense("in", "flat", np.full((4, 4), 2)),
        convolution("flat", "out", [[[[2]]]]),
    )
    assert rules(behind) == ["netx-convolution-after-dense"]


def test_layers_that_are_zeroed_out_of_turn_are_refused():
    def two(first, second):
        return graph(
            {"in": 1},
            {"a": (1, neurons(**first)), "b": (1, neurons(**second))},
            dense("in", "a", [[2]]),
            dense("a", "b", [[2]]),
        )

    assert rules(two({"start": 1}, {"start": 2})) == []
    assert rules(two({}, {"start": 2})) == ["netx-start"]
    assert rules(two({"start": 1}, {"start": 1})) == ["netx-start"]
    assert rules(two({"start": 1, "interval": 5}, {"start": 2})) == ["netx-start"]


def test_only_chains_are_layers():
    two_sources = graph({"a": 1, "b": 1}, {"out": (1, neurons())}, dense("a", "out", [[2]]))
    with pytest.raises(UsageError, match=r"one source; the graph has \['a', 'b'\]"):
        layers(two_sources)
    skipping = graph(
        {"in": 1},
        {"a": (1, neurons()), "out": (1, neurons())},
        dense("in", "a", [[2]]),
        dense("a", "out", [[2]]),
        dense("in", "out", [[2]]),
    )
    with pytest.raises(UsageError, match="'in' and 'a' are joined with more than each other"):
        layers(skipping)
    apart = graph(
        {"in": 1},
        {"a": (1, neurons()), "out": (1, neurons())},
        dense("in", "a", [[2]]),
        dense("out", "out", [[2]]),
    )
    with pytest.raises(UsageError, match="over 1 of 2 populations to 'a'"):
        layers(apart)


def spoil(tmp_path, change):
    """Write a good file, change it, and read it."""
    path = tmp_path / "a.net"
    write_net(picture(), path)
    with h5py.File(path, "r+") as file:
        change(file)
    return read_net(path)


def pool(file):
    del file["layer/2/type"]
    file["layer/2"].create_dataset("type", (1,), "S10", [b"pool"])


def delay_of_convolution(file):
    file["layer/1/delay"] = np.ones(3)


def no_neuron(file):
    del file["layer/3/neuron"]


def recurrent_delay(file):
    file["layer/4/delay"] = 1


def message_bits(file):
    file["layer/4/neuron/messageBits"] = 8


def adaptive(file):
    del file["layer/4/neuron/type"]
    file["layer/4/neuron/type"] = "ALIF"


def wrong_shape(file):
    del file["layer/1/shape"]
    file["layer/1/shape"] = np.array([3, 2, 5])


def no_weight(file):
    del file["layer/3/weight"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pool, "layer 2: netx does not read layers of type 'pool'"),
        (delay_of_convolution, "layer 1: netx ignores the delays of a convolution"),
        (no_neuron, "layer 3: no neuron"),
        (recurrent_delay, "layer 4: a recurrent layer with delays"),
        (message_bits, "messageBits"),
        (adaptive, "'ALIF'"),
        (wrong_shape, r"layer 1: its shape is \(3, 2, 5\), but it makes \(3, 4, 5\)"),
        (no_weight, "incomplete"),
    ],
)
def test_files_that_netx_would_not_run_as_they_say_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        spoil(tmp_path, change)


def test_what_is_no_such_file_is_refused(tmp_path):
    (tmp_path / "a.net").write_text("no HDF5")
    with pytest.raises(DataError, match=r"a\.net: cannot read it as a \.net file"):
        read_net(tmp_path / "a.net")
    with h5py.File(tmp_path / "b.net", "w") as file:
        file["other"] = 1
    with pytest.raises(DataError, match=r"b\.net: incomplete"):
        read_net(tmp_path / "b.net")


@pytest.mark.parametrize("kept", [0.0, 0.2, 0.5, 0.8, 0.95])
def test_a_truncated_file_is_one_clear_error(tmp_path, kept):
    write_net(picture(), tmp_path / "whole.net")
    whole = (tmp_path / "whole.net").read_bytes()
    (tmp_path / "a.net").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=r"a\.net: ") as caught:
        read_net(tmp_path / "a.net")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("layer", 1),
        ("layer/1", 1),
        ("layer/1/type", 7),
        ("layer/1/type", b"\xff"),
        ("layer/1/weight", b"words"),
        ("layer/1/weight", 3.0),
        ("layer/1/shape", b"words"),
        ("layer/1/stride", np.arange(3)),
        ("layer/1/neuron", 1),
        ("layer/1/neuron/iDecay", b"words"),
        ("layer/1/neuron/vThMant", np.arange(3)),
        ("layer/3/weight", np.ones((2, 2))),
        ("layer/3/delay", b"words"),
        ("layer/3/bias", np.arange(5)),
        ("simulation/tSample", b"words"),
    ],
)
def test_foreign_contents_are_one_clear_error(tmp_path, place, value):
    write_net(picture(), tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net", "r+") as file:
        if place in file:
            del file[place]
        file[place] = value
        if place.startswith("simulation"):
            del file.attrs["steps"]
    with pytest.raises(DataError, match=r"a\.net") as caught:
        read_net(tmp_path / "a.net")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (3, np.full((2, 3), 3)),
        ([1, 2], [[1, 1, 1], [2, 2, 2]]),
        ([1, 2, 3], [[1, 2, 3], [1, 2, 3]]),
    ],
)
def test_delays_of_other_writers_are_spread_as_netx_does(tmp_path, delay, expected):
    layer = one_layer([[2, 4, 6], [2, 4, 6]], neurons())
    write_net(layer, tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net", "r+") as file:
        file["layer/1/delay"] = delay
    (connection,) = read_net(tmp_path / "a.net").connections
    spread = np.broadcast_to(connection.delay, (2, 3))
    np.testing.assert_array_equal(spread, expected)


def test_too_long_delays_are_read_as_netx_reads_them(tmp_path):
    write_net(one_layer([[2]], neurons()), tmp_path / "a.net")
    with h5py.File(tmp_path / "a.net", "r+") as file:
        file["layer/1/delay"] = 70
    with pytest.warns(UserWarning, match="delays of 70 become 62"):
        (connection,) = read_net(tmp_path / "a.net").connections
    assert connection.delay == 62
