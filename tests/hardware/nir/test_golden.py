"""Files that are kept: what this package wrote, and what other frameworks' exporters wrote."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro.errors import UsageError
from neuro.hardware.nir import Interpreter, from_nir, interpret, read_nir, to_nir
from neuro.layers import Linear, Network, Node, Spiking
from neuro.neurons import IF, LIF, CubaLIF

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"


def build(*layers, inputs=8):
    """A network of bias-free weights, each followed by neurons."""
    nodes = []
    for number, (weight, neuron) in enumerate(layers):
        synapse = Linear(weight.shape[1], weight.shape[0], bias=False)
        with torch.no_grad():
            synapse.weight.copy_(torch.tensor(weight))
        nodes += [Node(f"w{number}", synapse), Node(f"n{number}", Spiking(neuron))]
    return Network(nodes, (inputs,))


def deep():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((5, 8)), rng.standard_normal((3, 5))
    x = rng.random((60, 8)) < 0.3
    neurons = [LIF(decay=decay, reset_mode="hard", inclusive=False) for decay in (0.9, 0.8)]
    return build((first, neurons[0]), (second, neurons[1])), x


def single(neuron, gain):
    rng = np.random.default_rng(7)
    weight = gain * rng.normal(0.35, 0.6, (5, 8))
    return build((weight, neuron)), rng.random((40, 8)) < 0.3


# The spikes of each were counted by an independent Euler integrator.
RECIPES = {
    "lif_8_5_3": (deep, 33),
    "lif_8_5": (lambda: single(LIF(decay=0.9, reset_mode="hard", inclusive=False), 1.0), 51),
    "cuba_8_5": (
        lambda: single(
            CubaLIF(current_decay=0.7, voltage_decay=0.8, reset_mode="hard", inclusive=False), 1.0
        ),
        112,
    ),
    "if_8_5": (lambda: single(IF(reset_mode="hard", inclusive=False), 0.3), 20),
}


def spikes(model, x):
    with torch.no_grad():
        outputs, _ = model.sequence(torch.tensor(np.asarray(x, np.float32))[:, None])
    return outputs[:, 0].numpy()


@pytest.mark.parametrize("name", RECIPES)
def test_the_canonical_files_are_kept(name):
    """Written today to the bit as it was written first, and with the same spikes."""
    recipe, count = RECIPES[name]
    network, x = recipe()
    expected = spikes(network, x)
    assert expected.sum() == count
    kept = read_nir(GOLDEN / f"{name}.nir")
    np.testing.assert_array_equal(spikes(from_nir(kept), x), expected)
    np.testing.assert_array_equal(spikes(interpret(kept), x), expected)
    written = to_nir(network)
    assert list(written.nodes) == list(kept.nodes)
    assert written.edges == kept.edges
    for label, node in written.nodes.items():
        table, before = node.to_dict(), kept.nodes[label].to_dict()
        for part in table.keys() - {"metadata", "type"}:
            np.testing.assert_array_equal(table[part], before[part])
            assert np.asarray(table[part]).dtype == np.asarray(before[part]).dtype


FOREIGN = ("snntorch_dense", "snntorch_recurrent", "spikingjelly", "norse")


def dt_of(name):
    """norse 1.1.0 multiplies time constants by its dt of 1e-3."""
    return 1e-6 if name == "norse" else 1e-4


@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_export_is_read(name):
    with np.load(GOLDEN / f"{name}.npz") as stored:
        inputs, expected = stored["inputs"], stored["spikes"]
    assert expected.sum() > 15
    model = from_nir(GOLDEN / f"{name}.nir", dt=dt_of(name))
    np.testing.assert_array_equal(spikes(model, inputs).reshape(expected.shape), expected)
    assert isinstance(model, Interpreter) == (name == "snntorch_recurrent")


def test_the_time_constants_of_norse_are_not_taken_for_seconds():
    with pytest.raises(UsageError, match="read such files"):
        from_nir(GOLDEN / "norse.nir", dt=1e-3)


@pytest.mark.slow
def test_what_others_export_is_what_their_exporters_write(readers_python, tmp_path):
    script = HERE / "write_foreign.py"
    subprocess.run([readers_python, "-P", str(script), str(tmp_path)], check=True, timeout=250)
    for name in FOREIGN:
        kept, made = read_nir(GOLDEN / f"{name}.nir"), read_nir(tmp_path / f"{name}.nir")
        assert _numbers(kept) == _numbers(made)
        with np.load(GOLDEN / f"{name}.npz") as one, np.load(tmp_path / f"{name}.npz") as other:
            np.testing.assert_array_equal(one["spikes"], other["spikes"])


def _numbers(graph):
    """Every array of a graph and the graphs in it."""
    found = {}
    for name, node in graph.nodes.items():
        table = node.to_dict()
        if "nodes" in table:
            found |= {f"{name}.{part}": value for part, value in _numbers(node).items()}
            continue
        parts = {part: np.asarray(value).tolist() for part, value in table.items()}
        found |= {f"{name}.{part}": value for part, value in parts.items() if part != "metadata"}
    return found
