"""``neuro verify`` from end to end: proofs, mismatches, damage, and what is not installed."""

import json
import shutil
from pathlib import Path

import pytest

from neuro.export.folder import read_export
from neuro.hardware.integer_graph import read_graph
from neuro.hardware.lava.netx import write_net
from tests.export.conftest import lava, quick, readers, run
from tests.export.test_folder import sign_again

__all__ = ["lava", "readers", "run"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "json-output.md"


@pytest.fixture(scope="module")
def made(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for form in ("loihi", "netx", "nir"):
        quick(run, folder / form, to=form)
    return folder


@pytest.fixture
def export(made, tmp_path):
    """Copy an export to ``e``, to be damaged."""
    return lambda form: Path(shutil.copytree(made / form, tmp_path / "e"))


def test_a_proof_for_people(command, export):
    export("loihi")
    found = command("verify", "e", "--engines", "reference")
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert lines[:3] == [
        "simulator: neuro.hardware.fixed_point",
        "reference: neuro.hardware.fixed_point_reference",
        "",
    ]
    assert lines[3].split() == [
        *("layer", "neurons", "spikes", "reference:", "spikes,", "u,", "v", "that", "differ"),
    ]
    assert lines[-1] == "mismatches: 0; samples: 3; steps: 6"
    assert found.err == "Running 3 samples in reference.\n"


def test_json_is_one_object_of_documented_keys(command, export):
    export("loihi")
    found = command("verify", "e", "--engines", " reference", "--samples", 2, "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert list(record) == ["samples", "steps", "mismatches", "engines", "layers", "schema"]
    assert (record["samples"], record["mismatches"], record["schema"]) == (2, 0, 1)
    text = DOCUMENT.read_text("utf-8")
    for key in (*record, *record["layers"][0], *record["engines"][0]):
        assert f"`{key}`" in text, key


@pytest.mark.slow
def test_engines_prove_a_net_file(command, export, lava):
    export("netx")
    found = command("verify", "e", "--samples", 1, "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    names = [engine["name"] for engine in record["engines"]]
    assert names == ["simulator", "reference", "lava", "netx"]
    assert record["mismatches"] == 0
    zero = {"spikes": 0, "u": 0, "v": 0}
    assert [layer["mismatches"] for layer in record["layers"]] == [
        {"reference": zero, "lava": zero, "netx": zero},
        {"reference": zero, "lava": zero, "netx": zero},
    ]


def test_a_mismatch_is_told_counted_and_exit_code_1(command, export, lava):
    folder = export("netx")
    graph = read_graph(folder)
    graph.connections[1].synapses.weight[:] *= -1
    (folder / "network.net").unlink()
    write_net(graph, folder / "network.net")
    sign_again(folder, "network.net")
    found = command("verify", "e", "--samples", 1, "--engines", "reference,netx", "--json")
    assert found.code == 1
    record = json.loads(found.out)
    layer = record["layers"][1]["mismatches"]
    assert record["mismatches"] == layer["netx"]["u"] + layer["netx"]["v"] > 0
    assert sum(layer["reference"].values()) == 0
    said = f"e: netx differs from the simulator in {record['mismatches']:,} numbers."
    assert found.err.splitlines()[-1] == f"neuro: {said}"


@pytest.mark.parametrize("form", ["netx", "nir"])
def test_every_damaged_file_is_one_line_that_names_it(command, export, form):
    folder = export(form)
    for name in ["manifest.json", *read_export(folder).manifest["files"]]:
        whole = (folder / name).read_bytes()
        for content in (whole[:-3], b"", None):
            if content is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(content)
            found = command("verify", "e")
            assert (found.code, found.out) == (1, "")
            assert found.err.startswith("neuro: e")
            assert name in found.err
            assert found.err.count("\n") == 1
        (folder / name).write_bytes(whole)
    assert read_export(folder).form == form


def test_an_export_of_another_version(command, export):
    path = export("loihi") / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 7'))
    found = command("verify", "e")
    assert (found.code, found.out) == (1, "")
    assert "an export of version 7; this neuro reads version 1" in found.err


def test_without_lava(command, export, monkeypatch, tmp_path):
    export("loihi")
    monkeypatch.setenv("NEURO_LAVA_PYTHON", str(tmp_path / "none"))
    found = command("verify", "e")
    assert (found.code, found.out) == (1, "")
    assert "`make lava`" in found.err
    assert "--engines reference" in found.err
    assert found.err.count("\n") == 1
    assert command("verify", "e", "--engines", "reference").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("e", "--samples", 4), 2, "--samples 4: the export holds 1 to 3"),
        (("e", "--engines", "refrence"), 2, 'Did you mean "reference"'),
        (("e", "--engines", "lava,netx"), 2, "cannot be run in 'netx'"),
        (("none",), 1, "none is no export"),
    ],
)
def test_wrong_use_is_one_line(command, export, arguments, code, said):
    export("loihi")
    found = command("verify", *arguments)
    assert (found.code, found.out) == (code, "")
    assert said in found.err
    assert found.err.count("\n") == 1


def test_readers_of_nir_that_are_not_there(command, export, monkeypatch, tmp_path):
    export("nir")
    monkeypatch.setenv("NEURO_NIR_READERS", str(tmp_path / "none"))
    found = command("verify", "e")
    assert (found.code, found.out) == (1, "")
    assert "norse, snntorch, spikingjelly: not installed in" in found.err
    assert "`make nir-readers`" in found.err
    wrong = command("verify", "e", "--engines", "nors")
    assert wrong.code == 2
    assert 'Did you mean "norse"' in wrong.err


@pytest.mark.slow
def test_readers_prove_a_nir_graph(command, export, readers):
    export("nir")
    found = command("verify", "e", "--samples", 1, "--engines", "norse", "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert list(record) == ["samples", "steps", "mismatches", "engines", "layers", "schema"]
    assert (record["samples"], record["mismatches"], record["layers"]) == (1, 0, [])
    assert record["engines"][0]["verdict"] == "exact"
    text = DOCUMENT.read_text("utf-8")
    assert all(f"`{key}`" in text for key in record["engines"][0])
    wrong = command("verify", "e", "--samples", 1, "--engines", "sinabs")
    assert wrong.code == 1
    assert "not read as it is meant by sinabs" in wrong.err
