"""netx runs the files that neuro writes, and computes what the graph says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neuro.hardware import fixed_point
from neuro.hardware.integer_graph import IntegerGraph
from neuro.hardware.lava.netx import read_net, write_net
from neuro.hardware.lava.run import LavaError, run
from tests.hardware.lava.build import (
    convolution,
    dense,
    even,
    graph,
    neurons,
    one_layer,
    spikes,
)

RNG = np.random.default_rng(0)
T, N, M = 30, 16, 10


def check(whole: IntegerGraph, lava: Any, net: Path | None = None) -> None:
    """Run a graph, or its file, in netx and in the simulator of neuro."""
    (source,) = whole.sources.values()
    low, high = source.message_range
    rng = np.random.default_rng(1)
    given = spikes(rng, T, 1, *source.shape, rate=0.4)
    if source.message_bits:
        given *= rng.integers(low, high + 1, given.shape, np.int32)
    inputs = {source.name: given}
    names = list(whole.populations)
    expected = fixed_point.run(whole, inputs, steps=T, record=names)
    signals = ("spikes", "v")
    found = run(whole, inputs, steps=T, signals=signals, engine="netx", net=net, python=lava.path)
    for name in names:
        assert expected.spikes[name].any(), f"{name} is silent: nothing is compared"
        for signal in signals:
            np.testing.assert_array_equal(
                getattr(found, signal)[name],
                getattr(expected, signal)[name],
                err_msg=f"{signal} of {name}",
            )


def two_layers(first: Any = None, **how: Any) -> IntegerGraph:
    rng = np.random.default_rng(2)
    return graph(
        {"in": N},
        {"hidden": (M, first or neurons(vth=120)), "out": (4, neurons(vth=60))},
        dense("in", "hidden", even(rng, M, N, largest=254), **how),
        dense("hidden", "out", even(rng, 4, M, largest=200)),
    )


def layered(start: int | None = None) -> IntegerGraph:
    """Return a convolution, a dense layer with delays, and a recurrent one."""
    rng = np.random.default_rng(3)
    starts = [None] * 3 if start is None else [start, start + 1, start + 2]
    hidden = neurons(
        dv=rng.integers(0, 4096, (3, 4, 5)),
        vth=100,
        bias_mant=[[[10]], [[-20]], [[30]]],
        bias_exp=6,
        start=starts[0],
    )
    return graph(
        {"in": (2, 4, 5)},
        {
            "hidden": ((3, 4, 5), hidden),
            "second": (8, neurons(vth=90, start=starts[1])),
            "out": (4, neurons(vth=50, start=starts[2])),
        },
        convolution("in", "hidden", even(rng, 3, 2, 3, 3), padding=(1, 1)),
        dense("hidden", "second", even(rng, 8, 60), rng.integers(0, 5, (8, 60))),
        dense("second", "out", even(rng, 4, 8)),
        dense("out", "out", even(rng, 4, 4)),
    )


def test_a_convolution_a_dense_and_a_recurrent_layer_zeroed_in_turn(lava):
    check(layered(start=3), lava)


KINDS: dict[str, Callable[[], IntegerGraph]] = {
    "two dense layers": two_layers,
    "bias": lambda: two_layers(neurons(vth=120, bias_mant=RNG.integers(-99, 99, M), bias_exp=6)),
    "a delay for each synapse": lambda: two_layers(delay=RNG.integers(0, 9, (M, N))),
    "one delay": lambda: two_layers(delay=7),
    "the longest delay": lambda: two_layers(delay=RNG.integers(0, 2, (M, N)) * 20),
    "excitatory alone": lambda: one_layer(RNG.integers(0, 256, (M, N)), neurons()),
    "inhibitory alone": lambda: one_layer(
        -RNG.integers(0, 128, (M, N)), neurons(vth=10, bias_mant=400, bias_exp=6)
    ),
    "no decay of the current": lambda: two_layers(neurons(du=-1, dv=4096, vth=400)),
    "no current kept": lambda: two_layers(neurons(du=4095, dv=0, vth=120)),
    "registers for each neuron": lambda: two_layers(
        neurons(
            du=RNG.integers(-1, 4096, M),
            dv=RNG.integers(0, 4097, M),
            vth=RNG.integers(90, 200, M),
        )
    ),
    "odd weights within 127": lambda: one_layer(RNG.integers(-127, 128, (M, N)), neurons()),
    "weights with few bits": lambda: one_layer(RNG.integers(-3, 4, (M, N)) * 32, neurons()),
    "graded input": lambda: one_layer(even(RNG, M, N), neurons(), bits=8),
    "without resets": layered,
    "zeroed again and again": lambda: one_layer(
        even(RNG, M, N), neurons(vth=100, start=3, interval=8)
    ),
    "a convolution of groups": lambda: graph(
        {"in": (4, 6, 5)},
        {"hidden": ((6, 3, 5), neurons(vth=40)), "out": (4, neurons(vth=40))},
        convolution("in", "hidden", even(RNG, 6, 2, 2, 3), stride=(2, 1), padding=(0, 1), groups=2),
        dense("hidden", "out", even(RNG, 4, 90)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file(lava, kind):
    check(KINDS[kind](), lava)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:delays of 63")
@pytest.mark.parametrize(
    "delay", [5, 63, np.arange(M), np.arange(N)], ids=["scalar", "too long", "out", "in"]
)
def test_delays_of_other_writers_mean_what_neuro_reads(lava, tmp_path, delay):
    path = tmp_path / "a.net"
    steady = neurons(vth=120, bias_mant=200, bias_exp=6)  # spikes before the longest delay, too
    write_net(two_layers(steady), path)
    with h5py.File(path, "r+") as file:
        file["layer/1/delay"] = delay
    check(read_net(path), lava, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weight", "rule"),
    [([[-128, 0]], "netx-negative-power"), ([[-64, -2]], "netx-negative-power")],
)
def test_what_is_refused_would_come_out_wrong(lava, weight, rule):
    """The refusal is right: without it netx computes something else."""
    biased = neurons(vth=200, bias_mant=300, bias_exp=6)
    layer = one_layer(weight, biased)
    inputs = {"in": np.ones((20, 1, 2), np.int32)}
    expected = fixed_point.run(layer, inputs, record=["out"])
    found = run(layer, inputs, engine="netx", check=False, python=lava.path)
    assert not np.array_equal(found.u["out"], expected.u["out"])


@pytest.mark.slow
def test_weights_that_are_all_zero_fail_in_netx(lava):
    with pytest.raises(LavaError, match="Error"):
        run(
            one_layer([[0, 0]], neurons()),
            {"in": np.ones((3, 1, 2), np.int32)},
            engine="netx",
            check=False,
            python=lava.path,
        )
