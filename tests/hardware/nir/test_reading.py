"""Graphs of any writer as models: every primitive, loops, nesting, delays, and what is refused."""

from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest
import torch

from neuro.errors import DataError, UsageError
from neuro.hardware.nir import (
    Interpreter,
    LossyImportWarning,
    from_nir,
    interpret,
    to_network,
    write_nir,
)
from neuro.hardware.nir.features import DT, chain, cuba, features, lif, weights
from neuro.layers import Network


def run(model, samples):
    """Outputs ``(T, ...)`` of one sample."""
    with torch.no_grad():
        outputs, _ = model.sequence(torch.tensor(np.asarray(samples, np.float32))[:, None])
    return outputs[:, 0].double().numpy()


def linear(weight):
    return nir.Linear(weight=np.asarray(weight, np.float32))


def full(shape, value):
    return np.full(shape, value, np.float32)


def line(length, *ones):
    x = np.zeros((length, 1), np.float32)
    x[list(ones)] = 1
    return x


def euler(
    inputs: np.ndarray[Any, Any], weight: Any, dt: float, **numbers: float
) -> np.ndarray[Any, Any]:
    """Integrate a layer as NIR's equations say, in double precision, one Euler step at a time."""
    tau = numbers.get("tau")
    r, threshold, reset = numbers["r"], numbers["v_threshold"], numbers.get("v_reset", 0.0)
    leak, tau_syn = numbers.get("v_leak", 0.0), numbers.get("tau_syn")
    v = np.zeros(len(weight))
    current = np.zeros(len(weight))
    spikes = []
    for x in inputs:
        drive = np.asarray(weight, np.float64) @ x
        if tau_syn is not None:
            current = current + dt / tau_syn * (numbers["w_in"] * drive - current)
            drive = current
        v = v + (r * dt * drive if tau is None else dt / tau * ((leak - v) + r * drive))
        s = v > threshold
        v = np.where(s, reset, v)
        spikes.append(s)
    return np.array(spikes, float)


TAU, TAU_SYN, TAU_MEM = 1e-3, DT / 0.3, DT / 0.2


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("LIF, r = 1", {"tau": TAU, "r": 1}),
        ("LIF, threshold 1.7", {"tau": TAU, "r": 1, "v_threshold": 1.7}),
        ("LIF, v_reset = -0.3", {"tau": TAU, "r": 1, "v_reset": -0.3}),
        ("LIF, v_leak = 0.2", {"tau": TAU, "r": 1, "v_leak": 0.2}),
        ("LIF, r = 1/(1-b)", {"tau": TAU, "r": 10}),
        ("IF, r = 1/dt", {"r": 1 / DT}),
        ("IF, r = 1", {"r": 1}),
        (
            "CubaLIF, r = tau_mem/dt, w_in = tau_syn/dt",
            {"tau_syn": TAU_SYN, "tau": TAU_MEM, "r": TAU_MEM / DT, "w_in": TAU_SYN / DT},
        ),
        ("CubaLIF, r = w_in = 1", {"tau_syn": TAU_SYN, "tau": TAU_MEM, "r": 1, "w_in": 1}),
    ],
)
def test_neurons_follow_their_equations(name, numbers):
    feature = features()[name]
    expected = euler(
        feature.samples[0],
        feature.graph.nodes["1_Linear"].weight,
        DT,
        **{"v_threshold": 1.0, **numbers},
    )
    assert expected.sum() > 10
    np.testing.assert_array_equal(run(from_nir(feature.graph), feature.samples[0]), expected)
    np.testing.assert_array_equal(run(interpret(feature.graph), feature.samples[0]), expected)


def test_integrators_follow_their_equations():
    """By hand: tau = 2 dt, an input of 4 at the first step."""
    li = nir.LI(tau=full(1, 2 * DT), r=full(1, 3), v_leak=full(1, 0.5))
    graph = chain(li, shape=(1,))
    outputs = run(from_nir(graph), 4 * line(3, 0))[:, 0]
    # v = v/2 + 3 I/2 + 0.25, from 0
    np.testing.assert_allclose(outputs, [6.25, 3.375, 1.9375], rtol=1e-6)
    i = chain(nir.I(r=full(1, 2 / DT)), shape=(1,))
    np.testing.assert_allclose(run(from_nir(i), line(3, 0, 2))[:, 0], [2, 2, 4], rtol=1e-6)
    numbers = {"tau_syn": 2 * DT, "tau_mem": 4 * DT, "r": 4, "w_in": 2, "v_leak": 1}
    both = chain(nir.CubaLI(**{key: full(1, v) for key, v in numbers.items()}), shape=(1,))
    # i = i/2 + S ; v = 3/4 v + i + 1/4
    outputs = run(from_nir(both), line(3, 0))[:, 0]
    np.testing.assert_allclose(outputs, [1.25, 1.6875, 1.765625], rtol=1e-6)


def test_a_threshold_has_no_memory():
    graph = chain(nir.Threshold(threshold=np.array([1, 2, -1], np.float32)), shape=(3,))
    outputs = run(from_nir(graph), [[1, 3, 0], [1.1, 2, -1]])
    np.testing.assert_array_equal(outputs, [[0, 1, 1], [1, 0, 0]])


def test_maps_and_vectors_are_what_torch_makes_of_them():
    torch.manual_seed(0)
    x = torch.rand(2, 1, 2, 6, 5)
    weight = torch.randn(4, 1, 3, 3)
    conv = nir.Conv2d(
        input_shape=None,
        weight=weight.numpy(),
        stride=(2, 1),
        padding=(1, 0),
        dilation=(1, 2),
        groups=2,
        bias=np.arange(4, dtype=np.float32),
    )
    expected = torch.nn.functional.conv2d(
        x[:, 0], weight, torch.arange(4.0), (2, 1), (1, 0), (1, 2), 2
    )
    got = run(from_nir(_raw(conv, shape=(2, 6, 5)), dt=DT), x[:, 0])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    sides = {"kernel_size": np.array([3, 2]), "stride": np.array([2, 1])}
    for kind, divisor in ((nir.SumPool2d, 1), (nir.AvgPool2d, None)):
        pool = kind(**sides, padding=np.array([1, 0]))
        expected = torch.nn.functional.avg_pool2d(
            x[:, 0], (3, 2), (2, 1), (1, 0), divisor_override=divisor
        )
        got = run(from_nir(_raw(pool, shape=(2, 6, 5)), dt=DT), x[:, 0])
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    inner = nir.Flatten(input_type={"input": np.array([2, 6, 5])}, start_dim=1, end_dim=2)
    got = run(from_nir(_raw(inner, shape=(2, 6, 5)), dt=DT), x[:, 0])
    np.testing.assert_array_equal(got, x[:, 0].flatten(2))
    stack = np.random.default_rng(0).normal(size=(2, 6, 3, 5)).astype(np.float32)
    affine = nir.Affine(weight=stack, bias=np.ones((2, 6, 3), np.float32))
    got = run(from_nir(_raw(affine, shape=(2, 6, 5)), dt=DT), x[:, 0])
    np.testing.assert_allclose(
        got, np.einsum("choi,tchi->tcho", stack, x[:, 0].numpy()) + 1, rtol=1e-4, atol=1e-5
    )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("padding", "kernel"), [("same", 3), ("same", 2), ("valid", 2), (1, 3)])
def test_one_sided_convolutions_pad_as_torch_does(padding, kernel):
    torch.manual_seed(0)
    x = torch.rand(3, 2, 7)
    weight = torch.randn(4, 2, kernel)
    conv = nir.Conv1d(
        input_shape=7,
        weight=weight.numpy(),
        stride=1,
        padding=padding,
        dilation=1,
        groups=1,
        bias=np.zeros(4, np.float32),
    )
    expected = torch.nn.functional.conv1d(x, weight, padding=padding)
    got = run(from_nir(_raw(conv, shape=(2, 7)), dt=DT), x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def _raw(*nodes: nir.NIRNode, shape: tuple[int, ...]) -> nir.NIRGraph:
    """A chain whose types are left for the reader to find."""
    named: dict[str, Any] = {"input": nir.Input(input_type=np.array(shape))}
    named |= {f"n{number}": node for number, node in enumerate(nodes)}
    named["output"] = nir.Output(output_type={"output": None})
    names = list(named)
    edges = list(pairwise(names))
    return nir.NIRGraph(nodes=named, edges=edges, type_check=False)


def test_a_loop_takes_one_step():
    """A spike comes back through a weight of 2 a step later, and fires the neuron again."""
    graph = chain(_relay(), shape=(1,))
    graph.nodes["back"] = linear([[2.0]])
    graph.edges += [("1_LIF", "back"), ("back", "1_LIF")]
    outputs = run(from_nir(graph), 2 * line(4, 0))
    np.testing.assert_array_equal(outputs[:, 0], [1, 1, 1, 1])
    self_loop = chain(_relay(), shape=(1,))
    self_loop.edges.append(("1_LIF", "1_LIF"))
    np.testing.assert_array_equal(run(from_nir(self_loop), 2 * line(3, 1))[:, 0], [0, 1, 0])


def test_a_bias_in_a_loop_waits_for_the_first_step():
    graph = chain(_relay(), shape=(1,))
    graph.nodes["back"] = nir.Affine(weight=full((1, 1), 0), bias=full(1, 2))
    graph.edges += [("1_LIF", "back"), ("back", "1_LIF")]
    np.testing.assert_array_equal(run(from_nir(graph), line(3))[:, 0], [0, 1, 1])


@pytest.mark.parametrize("steps", [1, 3])
def test_a_loop_through_a_delay_takes_the_delay(steps):
    graph = chain(_relay(), shape=(1,))
    graph.nodes["late"] = nir.Delay(delay=full(1, steps * DT))
    graph.nodes["back"] = linear([[2.0]])
    graph.edges += [("1_LIF", "late"), ("late", "back"), ("back", "1_LIF")]
    outputs = run(from_nir(graph), 2 * line(7, 0))
    np.testing.assert_array_equal(outputs[:, 0], np.arange(7) % steps == 0)


def _relay() -> nir.LIF:
    """A neuron without memory that fires above 1."""
    return lif((1,), 0.0)


def test_a_loop_in_two_parts_is_a_loop_in_one():
    feature = features()["loop LIF -> Linear -> LIF"]
    model = from_nir(feature.graph)
    assert isinstance(model, Interpreter)
    x = torch.tensor(feature.samples).transpose(0, 1)
    whole, after = model.sequence(x)
    first, state = model.sequence(x[:13])
    second, last = model.sequence(x[13:], state)
    assert torch.equal(whole, torch.cat([first, second]))
    assert last.keys() == after.keys()
    assert model.sequence(x[:0])[0].shape == (0, 1, 5)


def test_delays_of_each_element():
    graph = chain(nir.Delay(delay=np.array([0, 1, 3], np.float32) * DT), shape=(3,))
    x = np.eye(5, 3, dtype=np.float32) * 0 + np.arange(1, 6, dtype=np.float32)[:, None]
    expected = np.array([[1, 0, 0], [2, 1, 0], [3, 2, 0], [4, 3, 1], [5, 4, 2]])
    model = from_nir(graph)
    np.testing.assert_array_equal(run(model, x), expected)
    state = model.initial_state(1)
    for now, then in zip(x, expected, strict=True):
        got, state = model.step(torch.tensor(now)[None], state)
        np.testing.assert_array_equal(got[0], then)


def test_nested_graphs_are_put_in_place():
    flat, nested = features()["LIF, r = 1"], features()["nested graph"]
    np.testing.assert_array_equal(
        run(from_nir(nested.graph), nested.samples[0]), run(from_nir(flat.graph), flat.samples[0])
    )
    assert isinstance(from_nir(nested.graph), Network)
    twice = chain(linear(np.eye(8)), chain(nested.graph, shape=(8,)))
    np.testing.assert_array_equal(
        run(from_nir(twice), flat.samples[0]), run(from_nir(flat.graph), flat.samples[0])
    )


@pytest.mark.parametrize("name", features())
def test_steps_are_the_sequence(name):
    feature = features()[name]
    model = from_nir(feature.graph)
    x = torch.tensor(feature.samples).transpose(0, 1)[:9]
    with torch.no_grad():
        whole, _ = model.sequence(x)
        state = model.initial_state(1)
        for now, then in zip(x, whole, strict=True):
            got, state = model.step(now, state)
            torch.testing.assert_close(got, then, rtol=1e-6, atol=1e-5)
    readout = model.run(list(x))
    torch.testing.assert_close(readout.logits, whole.mean(0), rtol=1e-5, atol=1e-5)
    assert set(readout.firing_rates) == set(model.neuron_nodes)


def test_plain_layers_make_a_network_and_others_an_interpreter():
    kinds = {name: type(from_nir(feature.graph)) for name, feature in features().items()}
    others = {name for name, kind in kinds.items() if kind is not Network}
    assert others == {
        "LIF, own tau and threshold each",
        "LIF, v_leak = 0.2",
        "CubaLI",
        "Threshold",
        "loop LIF -> Linear -> LIF",
        "Conv1d",
        "SumPool2d",
    }
    with pytest.raises(UsageError, match=r"the graph has a loop\. from_nir and interpret run such"):
        to_network(features()["loop LIF -> Linear -> LIF"].graph)
    with pytest.raises(UsageError, match=r"node '1_Threshold' .Threshold. is no layer"):
        to_network(chain(nir.Threshold(threshold=full(8, 1))))


def test_an_interpreter_trains():
    feature = features()["loop LIF -> Linear -> LIF"]
    model = from_nir(feature.graph)
    x = torch.tensor(feature.samples).transpose(0, 1)
    before = model.sequence(x)[0].mean().item()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.5)
    for _ in range(10):
        optimiser.zero_grad()
        model.sequence(x)[0].mean().backward()
        optimiser.step()
    assert model.sequence(x)[0].mean().item() < before


def test_names_that_torch_keeps_for_itself_do_not_matter():
    named = {
        "input": nir.Input(input_type=np.array([8])),
        "type": nir.Linear(weight=weights()),
        "forward": lif((5,)),
        "out.put": nir.Output(output_type=np.array([5])),
    }
    names = list(named)
    graph = nir.NIRGraph(named, list(pairwise(names)), {"dt": DT})
    feature = features()["LIF, r = 1"]
    expected = run(from_nir(feature.graph), feature.samples[0])
    for read in (from_nir, interpret):
        np.testing.assert_array_equal(run(read(graph), feature.samples[0]), expected)


def test_one_number_may_stand_for_all_neurons():
    """snntorch writes its neurons without a shape."""
    feature = features()["LIF, r = 1"]
    for shape in ((), (1,)):
        numbers = {"tau": 1e-3, "r": 1, "v_leak": 0, "v_threshold": 1, "v_reset": 0}
        neurons = nir.LIF(**{key: full(shape, value) for key, value in numbers.items()})
        graph = _raw(nir.Linear(weight=weights()), neurons, shape=(8,))
        np.testing.assert_array_equal(
            run(from_nir(graph, dt=DT), feature.samples[0]),
            run(from_nir(feature.graph), feature.samples[0]),
        )


def test_unknown_metadata_are_kept():
    graph = features()["LI"].graph
    graph.metadata["weather"] = "fine"
    assert interpret(graph).metadata["weather"] == "fine"


def test_dt_is_taken_from_the_file_or_asked_for(tmp_path):
    feature = features()["LIF, r = 1"]
    write_nir(feature.graph, tmp_path / "a.nir")
    expected = run(from_nir(tmp_path / "a.nir"), feature.samples[0])
    np.testing.assert_array_equal(expected, run(from_nir(feature.graph), feature.samples[0]))
    graph = _raw(nir.Linear(weight=weights()), lif((5,)), shape=(8,))
    with pytest.raises(UsageError, match="does not say how long a time step is"):
        from_nir(graph)
    np.testing.assert_array_equal(run(from_nir(graph, dt=DT), feature.samples[0]), expected)
    finer = run(from_nir(graph, dt=DT / 2), feature.samples[0])
    assert not np.array_equal(finer, expected)


@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan")])
def test_a_dt_that_is_none_is_refused(dt):
    with pytest.raises(UsageError, match="dt is a positive number"):
        from_nir(features()["LI"].graph, dt=dt)


def test_a_reset_may_be_asked_for():
    feature = features()["LIF, r = 1"]
    soft = run(from_nir(feature.graph, reset="soft"), feature.samples[0])
    hard = run(from_nir(feature.graph), feature.samples[0])
    assert soft.sum() > hard.sum()
    with pytest.raises(UsageError, match="reset is 'hard' or 'soft', got 'subtract'"):
        from_nir(feature.graph, reset="subtract")
    with pytest.raises(UsageError, match="a soft reset subtracts the threshold, and the node has"):
        from_nir(features()["LIF, v_reset = -0.3"].graph, reset="soft")


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (nir.Delay(delay=full(8, 2.5 * DT)), r"'n0' \(Delay\): a delay of .* is 2.5 steps"),
        (lif((8,), -1.0), r"'n0' \(LIF\): tau is 5e-05 s, shorter than the time step"),
    ],
)
def test_what_a_step_cannot_hold_is_refused_unless_asked(node, said):
    graph = _raw(node, shape=(8,))
    with pytest.raises(UsageError, match=said):
        from_nir(graph, dt=DT)
    with pytest.warns(LossyImportWarning, match=said):
        model = from_nir(graph, dt=DT, lossy=True)
    assert run(model, np.full((5, 8), 2.0)).any()


def _without(node, **numbers):
    for name, value in numbers.items():
        setattr(node, name, value)
    return node


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [linear(np.ones((3, 7)))],
            r"'n0' \(Linear\): weights of shape \(3, 7\) cannot read \(8,\)",
        ),
        ([lif((5,))], r"'n0' \(LIF\): v_leak is of shape \(5,\), its input of \(8,\)"),
        ([_without(lif((8,)), tau=full(8, np.nan))], "'n0' .LIF.: tau is not finite"),
        ([_without(lif((8,)), tau=full(8, 0))], "'n0' .LIF.: tau is 0; expected above 0"),
        ([nir.Delay(delay=full(8, -DT))], "'n0' .Delay.: a delay of .* lies in the future"),
        ([nir.SumPool2d(*[np.array([2, 2])] * 3)], r"'n0' \(SumPool2d\): pools \(C, H, W\)"),
        (
            [nir.Flatten(input_type={"input": None}, start_dim=1, end_dim=-1)],
            r"'n0' \(Flatten\): merges axes 1 to -1 of \(8,\)",
        ),
        ([_without(linear(np.ones((8, 8))), __class__=nir.ir.graph.Identity)], "no such primitive"),
    ],
)
def test_nodes_that_do_not_fit_are_named(nodes, said):
    with pytest.raises((DataError, UsageError), match=said):
        from_nir(_raw(*nodes, shape=(8,)), dt=DT)


def test_graphs_that_are_none_are_refused():
    two = chain(lif((8,)))
    two.nodes["more"] = nir.Input(input_type=np.array([8]))
    two.edges.append(("more", "1_LIF"))
    with pytest.raises(DataError, match=r"2 Input nodes .input, more.; expected one"):
        from_nir(two)
    twice = chain(lif((8,)))
    twice.edges.append(("input", "1_LIF"))
    with pytest.raises(DataError, match="the edge 'input' -> '1_LIF' twice"):
        from_nir(twice)
    lost = chain(lif((8,)))
    lost.edges.append(("nobody", "1_LIF"))
    with pytest.raises(DataError, match="edge of 'nobody', a node that is not there"):
        from_nir(lost)
    alone = chain(lif((8,)))
    alone.nodes["alone"] = lif((8,))
    alone.edges.append(("alone", "1_LIF"))
    with pytest.raises(UsageError, match="node 'alone' is not reached from the Input"):
        from_nir(alone)
    wide = chain(linear(np.ones((3, 8))), lif((3,)))
    wide.edges.append(("input", "2_LIF"))
    with pytest.raises(DataError, match="'2_LIF' adds up outputs of different shapes"):
        from_nir(wide)
    loop = chain(lif((8,)))
    loop.nodes["back"] = linear(np.ones((3, 8)))
    loop.edges += [("1_LIF", "back"), ("back", "1_LIF")]
    with pytest.raises(DataError, match=r"the loop from 'back' brings \(3,\) into node '1_LIF'"):
        from_nir(loop)
    ends = chain(lif((8,)))
    ends.nodes["output"] = nir.Output(output_type=np.array([4]))
    with pytest.raises(DataError, match=r"the Output 'output' is declared as \(4,\)"):
        from_nir(ends)


def test_metadata_that_contradict_the_parameters_are_refused():
    graph = chain(lif((8,)))
    graph.nodes["1_LIF"].metadata = {"decay": 0.8}
    with pytest.raises(DataError, match=r"its metadata say decay 0.8, its time constant makes it"):
        from_nir(graph)
    assert from_nir(graph, use_metadata=False).classes == 8
    graph.nodes["1_LIF"].metadata = {"surrogate": "sigmoyd"}
    with pytest.raises(DataError, match="no such surrogate gradient: 'sigmoyd'"):
        from_nir(graph)


def test_inputs_of_another_shape_are_refused():
    model = interpret(features()["Conv2d"].graph)
    with pytest.raises(UsageError, match=r"inputs of shape \(B, 2, 8, 8\), got \(1, 8\)"):
        model.step(torch.zeros(1, 8), model.initial_state(1))
    with pytest.raises(UsageError, match=r"\(T, B, 2, 8, 8\), got \(3, 1, 8\)"):
        model.sequence(torch.zeros(3, 1, 8))
    with pytest.raises(UsageError, match="at least one time step"):
        model.run([])


def test_current_based_neurons_may_differ():
    node = cuba()
    node.tau_syn = np.linspace(2, 9, 5, dtype=np.float32) * DT
    feature = features()["CubaLIF, r = tau_mem/dt, w_in = tau_syn/dt"]
    graph = chain(nir.Linear(weight=np.eye(5, 8, dtype=np.float32)), node)
    whole = run(from_nir(graph), feature.samples[0])
    for neuron, tau_syn in enumerate(node.tau_syn):
        alone = euler(
            feature.samples[0],
            np.eye(5, 8)[neuron : neuron + 1],
            DT,
            tau=TAU_MEM,
            tau_syn=float(tau_syn),
            r=TAU_MEM / DT,
            w_in=TAU_SYN / DT,
            v_threshold=1.0,
        )
        np.testing.assert_array_equal(whole[:, neuron], alone[:, 0])
