"""``.nir`` files: what is written comes back bit for bit; damage is one clear error."""

import subprocess
import sys

import h5py
import nir
import numpy as np
import pytest

from neuro.errors import DataError, UsageError
from neuro.hardware.nir import read_nir, write_nir
from neuro.hardware.nir.features import chain, cuba, features, lif
from neuro.hardware.nir.file import NODE_TYPES, nir_version


def same(one, other):
    """Whether two nodes say the same, to the bit."""
    assert type(one) is type(other)
    table, back = one.to_dict(), other.to_dict()
    assert table.keys() == back.keys()
    for name, value in table.items():
        if name == "edges":
            assert value == back[name]
        elif name == "nodes":
            assert value.keys() == back[name].keys()
            for inner in value:
                same(one.nodes[inner], other.nodes[inner])
        elif name == "metadata":
            assert repr_of(value) == repr_of(back[name])
        elif isinstance(value, str):
            assert value == back[name]
        else:
            assert np.array_equal(np.asarray(value), np.asarray(back[name])), name
            if isinstance(value, np.ndarray):
                assert value.dtype == np.asarray(back[name]).dtype


def repr_of(metadata):
    return {
        key: repr_of(value)
        if isinstance(value, dict)
        else value
        if isinstance(value, str)
        else np.asarray(value).tolist()
        for key, value in sorted(metadata.items())
    }


@pytest.mark.parametrize("name", features())
def test_every_parameter_and_edge_comes_back(name, tmp_path):
    graph = features()[name].graph
    write_nir(graph, tmp_path / "a.nir")
    same(graph, read_nir(tmp_path / "a.nir"))


def test_the_features_hold_every_primitive():
    def kinds(graph):
        for node in graph.nodes.values():
            yield type(node).__name__
            if isinstance(node, nir.NIRGraph):
                yield from kinds(node)

    held = {"NIRGraph"}.union(*(kinds(feature.graph) for feature in features().values()))
    assert held == set(NODE_TYPES)


def test_metadata_come_back(tmp_path):
    node = lif((5,))
    node.metadata = {"registers": {"du": np.arange(5), "note": "x"}}
    graph = chain(nir.Linear(weight=np.ones((5, 8), np.float32)), node)
    graph.metadata |= {"seed": 7, "beta": 0.1 + 0.2, "reset": "hard", "whole": True, "l": [1, 2]}
    write_nir(graph, tmp_path / "a.nir")
    back = read_nir(tmp_path / "a.nir")
    assert repr_of(back.metadata) == repr_of(graph.metadata)
    assert back.metadata["beta"] == 0.1 + 0.2
    assert back.nodes["2_LIF"].metadata["registers"]["du"].dtype == np.arange(5).dtype
    assert repr_of(back.nodes["2_LIF"].metadata) == repr_of(node.metadata)


@pytest.mark.parametrize("where", ["graph", "node"])
def test_none_in_metadata_is_refused_before_anything_is_written(where, tmp_path):
    graph = chain(lif((8,)))
    owner = graph if where == "graph" else graph.nodes["1_LIF"]
    owner.metadata = {"inner": {"seed": None}}
    with pytest.raises(UsageError, match="'inner', 'seed' holds None"):
        write_nir(graph, tmp_path / "a.nir")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.nir"
    write_nir(chain(lif((8,))), path)
    before = path.read_bytes()
    broken = chain(lif((8,)))
    broken.metadata = {"what": object()}
    with pytest.raises(TypeError):
        write_nir(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_none_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"cannot write .*nowhere"):
        write_nir(chain(lif((8,))), tmp_path / "nowhere" / "a.nir")


def test_the_version_is_read(tmp_path):
    write_nir(chain(cuba(), shape=(5,)), tmp_path / "a.nir")
    assert nir_version(tmp_path / "a.nir") == nir.version


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_one_clear_error(kept, tmp_path):
    path = tmp_path / "a.nir"
    write_nir(features()["Conv2d"].graph, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match=r"a\.nir: cannot be read as NIR"):
        read_nir(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"b\.nir: cannot be read as NIR"):
        read_nir(tmp_path / "b.nir")


def test_a_foreign_file_is_one_clear_error(tmp_path):
    path = tmp_path / "a.nir"
    with h5py.File(path, "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(DataError, match="no /node or no /version"):
        read_nir(path)


def test_an_unknown_node_is_named(tmp_path):
    path = tmp_path / "a.nir"
    write_nir(features()["nested graph"].graph, path)
    with h5py.File(path, "r+") as file:
        inner = file["node/nodes/2_NIRGraph/nodes/1_LIF"]
        del inner["type"]
        inner["type"] = "LIFE"
    with pytest.raises(DataError, match=r"2_NIRGraph/nodes/1_LIF is of the unknown type 'LIFE'"):
        read_nir(path)


@pytest.mark.parametrize(("part", "said"), [("tau", "cannot be read"), ("type", "has no type")])
def test_a_node_that_lacks_something_is_an_error(part, said, tmp_path):
    path = tmp_path / "a.nir"
    write_nir(features()["LIF, r = 1"].graph, path)
    with h5py.File(path, "r+") as file:
        del file["node/nodes/2_LIF"][part]
    with pytest.raises(DataError, match=said):
        read_nir(path)


def test_writing_and_reading_load_no_reader():
    script = (
        "import sys, neuro.hardware.nir\nprint(*(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    others = {"norse", "snntorch", "spikingjelly", "sinabs", "nirtorch"}
    assert others & set(done.stdout.split()) == set()
    assert "nir" in done.stdout.split()


def test_without_nir_the_error_names_the_extra():
    script = (
        "import sys\nsys.modules['nir'] = None\n"
        "from neuro.errors import MissingPackageError\n"
        "try:\n    import neuro.hardware.nir\n"
        "except MissingPackageError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 'pip install "neuro-snn[nir]"' in done.stdout, done.stderr
