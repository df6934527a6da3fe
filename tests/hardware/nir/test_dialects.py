"""What each dialect rewrites, and that it refuses, by name, what its reader would get wrong."""

import nir
import numpy as np
import pytest
import torch

from neuro.errors import UsageError
from neuro.hardware.nir import DIALECTS, convert, from_nir, interpret, to_nir
from neuro.hardware.nir.features import DT, chain, cuba, features, lif
from neuro.layers import (
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Network,
    Node,
    ReadoutIntegrator,
    Spiking,
)
from neuro.neurons import IF, LIF, CubaLIF, LeakyIntegrator

READERS = ("norse", "snntorch", "spikingjelly")


def outputs(graph, samples):
    with torch.no_grad():
        made, _ = interpret(graph).sequence(torch.tensor(samples).transpose(0, 1))
    return made.double().numpy()


def network(*nodes, shape=(8,)):
    torch.manual_seed(0)
    return Network([Node(f"n{number}", node) for number, node in enumerate(nodes)], shape)


def spikes(**numbers):
    return Spiking(LIF(**{"reset_mode": "hard", "decay": 0.9, **numbers}))


REFUSED = {
    "per-neuron tau": (
        lambda: network(Linear(8, 3), spikes(decay=torch.tensor([0.5, 0.6, 0.7]))),
        {"snntorch": "tau differs", "spikingjelly": "tau differs"},
    ),
    "per-neuron threshold": (
        lambda: network(Linear(8, 3), spikes(threshold=torch.tensor([0.5, 0.6, 0.7]))),
        {"snntorch": "v_threshold differs", "spikingjelly": "v_threshold differs"},
    ),
    "v_reset": (
        lambda: network(Linear(8, 3), spikes(reset_value=-0.3)),
        dict.fromkeys(READERS, "'2_lif' .LIF.: v_reset is not 0"),
    ),
    "v_leak": (
        lambda: features()["LIF, v_leak = 0.2"].graph,
        dict.fromkeys(READERS, "'2_LIF' .LIF.: v_leak is not 0"),
    ),
    "Delay": (
        lambda: network(Linear(8, 3), spikes(), Delay(2)),
        {"norse": "'3_delay' .Delay.: the reader ignores delays"}
        | dict.fromkeys(("snntorch", "spikingjelly"), "'3_delay' .Delay.: .* does not know it"),
    ),
    "loop": (
        lambda: features()["loop LIF -> Linear -> LIF"].graph,
        {"snntorch": "lies on a loop"},
    ),
    "IF": (
        lambda: network(Linear(8, 3), Spiking(IF(reset_mode="hard"))),
        {"snntorch": "'2_if' .IF.: the reader lets it leak"},
    ),
    "LI": (
        lambda: network(Linear(8, 3), ReadoutIntegrator(LeakyIntegrator())),
        {"norse": "integrators"} | dict.fromkeys(("snntorch", "spikingjelly"), "'2_li' .LI.: "),
    ),
    "soft reset": (
        lambda: network(Linear(8, 3), spikes(reset_mode="soft")),
        dict.fromkeys((*READERS, "generic"), "layer 'n1' subtracts its threshold"),
    ),
    "hard reset": (
        lambda: network(Linear(8, 3), spikes()),
        {"sinabs": "the reader's is subtractive"},
    ),
    "no memory": (
        lambda: network(Linear(8, 3), spikes(decay=0.0)),
        {"spikingjelly": "tau is one time step"},
    ),
    "groups": (
        lambda: _grouped(),
        dict.fromkeys(READERS, "its channels are in groups"),
    ),
    "Scale": (
        lambda: features()["Scale"].graph,
        dict.fromkeys(READERS, r"\(Scale\): the reader"),
    ),
    "joined branches": (
        lambda: features()["two branches added up"].graph,
        {"norse": "node '4_LIF' joins branches, and the reader would run it before '3_Linear'"},
    ),
}


def _grouped():
    node = features()["Conv2d"].graph.nodes["1_Conv2d"]
    weight = node.weight[:2, :1]
    conv = nir.Conv2d((8, 8), weight, 1, 1, 1, 2, np.zeros(2, np.float32))
    named = {"in": nir.Input(np.array([2, 8, 8])), "conv": conv}
    named["out"] = nir.Output(np.array([2, 8, 8]))
    edges = [("in", "conv"), ("conv", "out")]
    return nir.NIRGraph(named, edges, {"dt": DT}, type_check=False)


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("case", REFUSED)
def test_a_dialect_refuses_what_its_reader_gets_wrong(case, target):
    build, refused = REFUSED[case]
    made = build()

    def write():
        return to_nir(made, target=target) if isinstance(made, Network) else convert(made, target)

    if target in refused:
        with pytest.raises(UsageError, match=refused[target]):
            write()
    elif target != "sinabs":
        assert write().metadata["target"] == target


def test_a_noted_soft_reset_is_for_this_package_alone():
    made = network(Linear(8, 3), spikes(reset_mode="soft"))
    for target in READERS:
        with (
            pytest.warns(UserWarning, match="subtract"),
            pytest.raises(UsageError, match=r"'2_lif' .LIF.: its reset is subtractive"),
        ):
            to_nir(made, target=target, soft_reset="note")


def test_every_problem_is_listed_at_once():
    graph = chain(lif((8,), v_reset=-0.2), nir.Delay(delay=np.full(8, DT, np.float32)))
    with pytest.raises(UsageError, match=r"'1_LIF'.*v_reset.*; node '2_Delay'"):
        convert(graph, "norse")


@pytest.mark.parametrize("name", features())
@pytest.mark.parametrize("target", READERS)
def test_what_a_dialect_takes_it_does_not_change(name, target):
    feature = features()[name]
    try:
        graph = convert(feature.graph, target)
    except UsageError:
        assert name not in ("LIF, r = 1/(1-b)", "CubaLIF, r = w_in = 1", "AvgPool2d")
        return
    before = outputs(feature.graph, feature.samples)
    np.testing.assert_allclose(outputs(graph, feature.samples), before, rtol=1e-5, atol=1e-5)
    assert graph is not feature.graph


def test_the_graph_given_is_left_alone():
    graph = features()["LIF, r = 1/(1-b)"].graph
    before = graph.nodes["2_LIF"].r.copy(), graph.nodes["2_LIF"].v_threshold.copy()
    convert(graph, "norse")
    np.testing.assert_array_equal(graph.nodes["2_LIF"].r, before[0])
    np.testing.assert_array_equal(graph.nodes["2_LIF"].v_threshold, before[1])
    assert "target" not in graph.metadata


@pytest.mark.parametrize("dt", [1.0, 1e-3, 1e-4])
def test_snntorch_gets_its_own_time_step_whatever_the_network_has(dt):
    made = network(Linear(8, 3), spikes(), Linear(3, 2), Spiking(CubaLIF(reset_mode="hard")))
    graph = to_nir(made, dt=dt, target="snntorch")
    assert graph.metadata["dt"] == 1e-4
    np.testing.assert_allclose(graph.nodes["2_lif"].tau, 1e-3, rtol=1e-6)
    np.testing.assert_allclose(graph.nodes["4_cubalif"].tau_syn, 2e-4, rtol=1e-6)
    np.testing.assert_allclose(graph.nodes["4_cubalif"].r, 2, rtol=1e-6)
    same = convert(to_nir(made, dt=dt), "snntorch")
    np.testing.assert_allclose(same.nodes["2_lif"].tau, graph.nodes["2_lif"].tau, rtol=1e-6)
    np.testing.assert_allclose(same.nodes["4_cubalif"].r, 2, rtol=1e-6)


def test_other_dialects_keep_the_time_step():
    made = network(Linear(8, 3), spikes())
    assert to_nir(made, dt=1e-3, target="norse").metadata["dt"] == 1e-3
    assert to_nir(made, dt=1.0, target="spikingjelly").metadata["dt"] == 1.0


def test_resistances_are_brought_to_one_for_norse():
    node = convert(features()["LIF, r = 1/(1-b)"].graph, "norse").nodes["2_LIF"]
    np.testing.assert_array_equal(node.r, 1)
    np.testing.assert_allclose(node.v_threshold, 0.1, rtol=1e-6)
    fixed = convert(features()["CubaLIF, r = w_in = 1"].graph, "snntorch").nodes["2_CubaLIF"]
    np.testing.assert_allclose(fixed.r, fixed.tau_mem / DT, rtol=1e-6)
    np.testing.assert_allclose(fixed.w_in, fixed.tau_syn / DT, rtol=1e-6)


def test_norse_gets_sums_for_averages():
    pooled = network(
        Conv2d(2, 3, 3, padding=1),
        spikes(),
        AvgPool2d(2),
        Flatten(),
        Linear(48, 4),
        shape=(2, 8, 8),
    )
    plain = to_nir(pooled)
    graph = to_nir(pooled, target="norse")
    assert type(graph.nodes["3_avgpool2d"]) is nir.SumPool2d
    np.testing.assert_allclose(
        graph.nodes["5_affine"].weight, plain.nodes["5_affine"].weight / 4, rtol=1e-6
    )
    np.testing.assert_array_equal(graph.nodes["5_affine"].bias, plain.nodes["5_affine"].bias)
    x = (np.random.default_rng(0).random((1, 10, 2, 8, 8)) < 0.4).astype(np.float32)
    np.testing.assert_allclose(outputs(graph, x), outputs(plain, x), rtol=1e-5, atol=1e-6)


def test_norse_gets_a_convolution_where_no_weight_can_take_the_average():
    pooled = network(
        Conv2d(2, 3, 3, padding=1), GlobalAvgPool2d(), spikes(threshold=0.1), shape=(2, 6, 4)
    )
    with torch.no_grad():
        pooled.synapse_nodes["n0"].weight.abs_()
    graph = to_nir(pooled, target="norse")
    assert type(graph.nodes["2_avgpool2d"]) is nir.Conv2d
    x = (np.random.default_rng(0).random((1, 10, 2, 6, 4)) < 0.4).astype(np.float32)
    expected = outputs(to_nir(pooled), x)
    assert expected.any()
    np.testing.assert_array_equal(outputs(graph, x), expected)


def test_spikingjelly_fires_at_the_threshold_and_gets_the_next_larger_number():
    made = network(Linear(8, 3), spikes(decay=0.5, inclusive=False))
    graph = to_nir(made, target="spikingjelly")
    above = np.nextafter(np.float32(1), np.float32(2))
    np.testing.assert_array_equal(graph.nodes["2_lif"].v_threshold, above)
    assert interpret(graph).neuron_nodes["2_lif"].neuron.inclusive
    assert not from_nir(to_nir(made)).nodes["n1"].neuron.inclusive


def test_sinabs_gets_steps_and_full_gain():
    made = network(Linear(8, 3, bias=False), spikes(reset_mode="soft", threshold=1.5))
    graph = to_nir(made, target="sinabs")
    np.testing.assert_allclose(graph.nodes["2_lif"].tau, -1 / np.log(0.9), rtol=1e-6)
    np.testing.assert_allclose(graph.nodes["2_lif"].v_threshold, 15, rtol=1e-6)
    assert type(graph.nodes["1_linear"]) is nir.Affine
    x = (np.random.default_rng(0).random((1, 40, 8)) < 0.6).astype(np.float32) * 3
    with torch.no_grad():
        expected, _ = made.sequence(torch.tensor(x).transpose(0, 1))
    assert expected.any()
    np.testing.assert_array_equal(outputs(graph, x), expected)
    with pytest.raises(UsageError, match="a decay of 0 has no exponential time constant"):
        to_nir(network(Linear(8, 3), spikes(reset_mode="soft", decay=0.0)), target="sinabs")


def test_a_graph_that_does_not_say_its_time_step_needs_one():
    graph = chain(cuba(), shape=(5,))
    graph.metadata = {}
    with pytest.raises(UsageError, match="does not say how long a time step is"):
        convert(graph, "norse")
    assert convert(graph, "norse", dt=DT).metadata["dt"] == DT
    assert convert(graph, "generic").metadata == {"target": "generic"}


def test_nested_graphs_are_put_in_place_for_readers():
    graph = convert(features()["nested graph"].graph, "snntorch")
    assert list(graph.nodes) == ["input", "1_Linear", "2_NIRGraph.1_LIF", "output"]
    kept = convert(features()["nested graph"].graph, "generic")
    assert isinstance(kept.nodes["2_NIRGraph"], nir.NIRGraph)
