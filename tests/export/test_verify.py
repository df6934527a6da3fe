"""Exports are proven: every engine agrees on every register, and what differs is counted."""

import json
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuro.errors import DataError, UsageError
from neuro.export.folder import read_export
from neuro.export.verify import ENGINES, Proof, engines_of, verify
from neuro.hardware import fixed_point
from neuro.hardware.integer_graph import Dense, IntegerGraph, read_graph, write_graph
from neuro.hardware.lava.interpreter import VARIABLE, LavaMissingError
from neuro.hardware.lava.netx import write_net
from tests.export.conftest import quick
from tests.export.test_folder import sign_again


@pytest.fixture(scope="module")
def made(run, tmp_path_factory) -> Path:
    """Exports by form; read only."""
    folder = tmp_path_factory.mktemp("exports")
    for form in ("loihi", "lava", "netx"):
        quick(run, folder / form, to=form)
    return folder


def quiet(text: str) -> None:
    pass


def prove(folder: Path, **options: object) -> Proof:
    return verify(read_export(folder), note=quiet, **options)


def other(graph: IntegerGraph) -> IntegerGraph:
    """Change the synapses of one neuron of a graph."""
    weight = graph.connections[1].synapses.weight
    weight[0] *= -1
    return graph


def test_the_reference_proves_every_register(made):
    told: list[str] = []
    proof = verify(read_export(made / "loihi"), engines=["reference"], note=told.append)
    assert told == ["Running 3 samples in reference."]
    assert (proof.samples, proof.steps, proof.mismatches, proof.wrong) == (3, 6, 0, ())
    assert [layer.name for layer in proof.layers] == ["lif1", "readout"]
    assert [layer.neurons for layer in proof.layers] == [12, 10]
    spikes, zero = proof.layers[0].spikes, {"spikes": 0, "u": 0, "v": 0}
    export = read_export(made / "loihi")
    run = fixed_point.run(export.graph(), export.samples().inputs, record=["lif1"])
    assert spikes == run.spikes["lif1"].sum() > 0
    assert proof.to_json() == {
        "samples": 3,
        "steps": 6,
        "mismatches": 0,
        "engines": [
            {"name": "simulator", "description": "neuro.hardware.fixed_point"},
            {"name": "reference", "description": "neuro.hardware.fixed_point_reference"},
        ],
        "layers": [
            {"name": "lif1", "neurons": 12, "spikes": spikes, "mismatches": {"reference": zero}},
            {"name": "readout", "neurons": 10, "spikes": 0, "mismatches": {"reference": zero}},
        ],
    }
    assert prove(made / "loihi", engines=["reference"], samples=1).samples == 1


def test_a_simulator_that_errs_is_counted(made, monkeypatch):
    right = fixed_point.run

    def wrong(*given, **options):
        recording = right(*given, **options)
        recording.u["lif1"][2, 0, 5] += 1
        recording.v["readout"][3:5, 1, :] -= 7
        return recording

    monkeypatch.setattr("neuro.export.verify.fixed_point.run", wrong)
    proof = prove(made / "loihi", engines=["reference"])
    assert proof.mismatches == 1 + 2 * 10
    assert proof.wrong == ("reference",)
    assert proof.layers[0].mismatches == {"reference": {"spikes": 0, "u": 1, "v": 0}}
    assert proof.layers[1].mismatches == {"reference": {"spikes": 0, "u": 0, "v": 20}}


def test_engines_go_with_what_is_in_the_folder(made, soft, tmp_path):
    assert engines_of(read_export(made / "loihi")) == ("reference", "lava")
    assert engines_of(read_export(made / "lava")) == ("reference", "lava")
    assert engines_of(read_export(made / "netx")) == ENGINES
    quick(soft, tmp_path / "e", profile="loihi2-microcode")
    proof = prove(tmp_path / "e")
    assert list(proof.engines) == ["simulator", "reference"]
    assert proof.mismatches == 0
    with pytest.raises(UsageError, match="cannot be run in 'lava'; it can in reference"):
        prove(tmp_path / "e", engines=["lava"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engines": ["refrence"]}, "cannot be run in 'refrence'.*Did you mean \"reference\""),
        ({"engines": ["netx"]}, "cannot be run in 'netx'; it can in reference, lava"),
        ({"engines": []}, "no engine to compare with; name some of reference, lava"),
        ({"samples": 4}, "--samples 4: the export holds 1 to 3; `neuro export --samples N`"),
        ({"samples": 0}, "--samples 0: the export holds 1 to 3"),
    ],
)
def test_what_cannot_be_asked_for(made, options, said):
    with pytest.raises(UsageError, match=said) as caught:
        prove(made / "loihi", **options)
    assert "\n" not in str(caught.value)


def test_without_lava_the_way_to_get_it_is_told_before_anything_runs(made, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "python"))
    told: list[str] = []
    with pytest.raises(LavaMissingError, match=r"`make lava`.* --engines reference") as caught:
        verify(read_export(made / "netx"), note=told.append)
    assert told == []
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert prove(made / "netx", engines=["reference"]).mismatches == 0


def test_samples_of_another_graph_are_refused(made, tmp_path):
    folder = shutil.copytree(made / "loihi", tmp_path / "e")
    for others in ({"input.input": np.zeros((4, 3, 1, 5, 5), np.int16)}, {}):
        np.savez(folder / "samples.npz", targets=np.zeros(3, np.int64), **others)
        sign_again(folder, "samples.npz")
        with pytest.raises(DataError, match=r"not of graph\.json: the source 'input'"):
            prove(folder, engines=["reference"])


@pytest.mark.parametrize("name", ["graph.json", "graph.npz"])
def test_a_graph_that_was_damaged_before_it_was_signed(made, tmp_path, name):
    folder = shutil.copytree(made / "loihi", tmp_path / "e")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    sign_again(folder, name)
    with pytest.raises(DataError, match=str(folder)):
        prove(folder, engines=["reference"])


def test_a_net_file_that_was_damaged_before_it_was_signed(made, tmp_path, lava):
    for number, kept in enumerate((0.0, 0.5, 0.9)):
        folder = shutil.copytree(made / "netx", tmp_path / str(number))
        content = (folder / "network.net").read_bytes()
        (folder / "network.net").write_bytes(content[: int(kept * len(content))])
        sign_again(folder, "network.net")
        with pytest.raises(DataError, match=r"network\.net: ") as caught:
            prove(folder, engines=["netx"])
        assert "\n" not in str(caught.value)


def test_lava_and_netx_prove_every_register(made, lava):
    proof = prove(made / "netx", samples=1)
    assert list(proof.engines) == ["simulator", *ENGINES]
    assert proof.mismatches == 0
    assert proof.layers[0].spikes > 0
    assert proof.engines["lava"].startswith(f"lava-nc {lava.lava}, fixed_pt, Python {lava.python}")
    assert f"lava-dl {lava.lava_dl}" in proof.engines["netx"]


@pytest.mark.slow
def test_a_net_file_of_another_graph_is_counted(made, tmp_path, lava):
    folder = shutil.copytree(made / "netx", tmp_path / "e")
    (folder / "network.net").unlink()
    write_net(other(read_graph(folder)), folder / "network.net")
    sign_again(folder, "network.net")
    proof = prove(folder, engines=["reference", "netx"], samples=2)
    assert proof.wrong == ("netx",)
    assert sum(proof.layers[0].mismatches["netx"].values()) == 0
    held = read_export(folder).samples().first(2)
    right = fixed_point.run(read_graph(folder), held.inputs, record=["lif1", "readout"])
    changed = fixed_point.run(other(read_graph(folder)), held.inputs, record=["readout"])
    wrong = np.count_nonzero(right.v["readout"] != changed.v["readout"])
    assert proof.layers[1].mismatches["netx"]["v"] == wrong > 0


@pytest.mark.slow
def test_a_graph_of_another_export_still_proves_itself(made, tmp_path, lava):
    """Who changes graph and checksum alike has another network, not a wrong one."""
    folder = shutil.copytree(made / "loihi", tmp_path / "e")
    write_graph(other(read_graph(folder)), folder)
    for name in ("graph.json", "graph.npz"):
        sign_again(folder, name)
    assert prove(folder, samples=1).mismatches == 0


def test_the_job_in_the_folder_runs_by_itself(made, lava, tmp_path):
    """As its documentation says, from where the folder lies, and in a session of its own."""
    shutil.copytree(made / "lava", tmp_path / "e")
    done = subprocess.run(
        [lava.path, "e/lava/runner.py", "e/lava"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    export = read_export(tmp_path / "e")  # what it leaves is no part of the export
    found = fixed_point.run(
        export.graph(), export.samples().inputs, record=list(export.graph().populations)
    )
    assert found.spikes["lif1"].any()
    for number in range(3):
        with np.load(tmp_path / "e" / "lava" / f"sample{number}.npz") as sample:
            for name in export.graph().populations:
                for signal in ("spikes", "u", "v"):
                    ours = getattr(found, signal)[name][:, number]
                    np.testing.assert_array_equal(ours, sample[f"{name}.{signal}"])


def test_a_job_that_fails_ends_with_what_was_raised(made, lava, tmp_path):
    """Lava itself would wait for ever."""
    folder = shutil.copytree(made / "lava", tmp_path / "e") / "lava"
    graph = read_graph(folder)
    layer = graph.connections[0].synapses.weight.shape
    delayed = graph.connections[0].__class__(
        source="input",
        target="lif1",
        synapses=Dense(weight=graph.connections[0].synapses.weight),
        delay=np.full(layer, 70, np.int32),
    )
    record = {**vars(graph), "connections": (delayed, graph.connections[1])}
    write_graph(IntegerGraph(**record), folder)
    done = subprocess.run(
        [lava.path, folder / "runner.py", folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "expects values between 0 and 63" in done.stderr
    assert not list(folder.glob("sample*.npz"))


def test_the_manifest_tells_json_what_the_report_tells(made):
    manifest = json.loads((made / "netx" / "manifest.json").read_text())
    assert manifest["files"].keys() == {
        "graph.json",
        "graph.npz",
        "network.net",
        "placement.json",
        "samples.npz",
    }
    with h5py.File(made / "netx" / "network.net") as file:
        assert file.attrs["steps"] == manifest["steps"]
