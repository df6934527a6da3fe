"""NIR exports run in the readers they are for; a reader that does something else is counted."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from neuro.errors import DataError, MissingPackageError, UsageError
from neuro.export.folder import read_export
from neuro.export.readers import READERS, VARIABLE, find_readers
from neuro.export.verify_nir import NirProof, ReadersMissingError, verify_nir
from neuro.hardware.nir import conformance
from neuro.hardware.nir.conformance import Row
from tests.export.conftest import quick
from tests.export.test_folder import sign_again


@pytest.fixture(scope="module")
def made(run, tmp_path_factory) -> Path:
    """Exports by dialect; read only."""
    folder = tmp_path_factory.mktemp("exports")
    for dialect in ("generic", "norse"):
        quick(run, folder / dialect, to="nir", dialect=dialect)
    return folder


def quiet(text: str) -> None:
    pass


def prove(folder: Path, **options: object) -> NirProof:
    return verify_nir(read_export(folder), **{"note": quiet, **options})


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """A Python that says it has some readers, and rows that they are said to come to."""

    def make(*there: str, **verdicts: str) -> Path:
        said = ", ".join(f'"{name}": "{"1.0" if name in there else ""}"' for name in READERS)
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho '{{{said}}}'\n".replace('""', "null"))
        path.chmod(0o755)
        seen: dict[str, object] = {}

        def rows(file, samples, *, readers, python, timeout):
            seen.update(shape=samples.shape, python=python, timeout=timeout)
            return [Row(name, "1.0", verdicts.get(name, "exact"), 1.0, "") for name in readers]

        monkeypatch.setattr(conformance, "conformance", rows)
        make.seen = seen
        return path

    return make


def test_the_readers_are_those_of_conformance():
    assert READERS == conformance.READERS


def test_a_generic_graph_runs_in_every_reader_that_takes_it(made, stand_in):
    told: list[str] = []
    proof = prove(made / "generic", python=stand_in(*READERS), note=told.append, timeout=7.0)
    assert [row.reader for row in proof.rows] == ["norse", "snntorch", "spikingjelly"]
    assert told[0].startswith("Left out: sinabs would get this graph wrong: node '1_flatten'")
    assert told[1:] == ["Running 3 samples in norse, snntorch, spikingjelly."]
    assert stand_in.seen["shape"] == (3, 4, 1, 8, 8)
    assert stand_in.seen["timeout"] == 7.0
    assert (proof.samples, proof.steps, proof.mismatches) == (3, 4, 0)
    record = proof.to_json()
    assert record["engines"][0] == {
        "name": "norse",
        "version": "1.0",
        "verdict": "exact",
        "agreement": 1.0,
        "detail": "",
    }
    assert record.keys() == {"samples", "steps", "mismatches", "engines", "layers"}


def test_readers_that_are_not_there_are_named_with_the_way_to_get_them(made, stand_in):
    told: list[str] = []
    python = stand_in("norse")
    proof = prove(made / "generic", python=python, note=told.append, samples=1)
    assert [row.reader for row in proof.rows] == ["norse"]
    assert told[1].startswith("Left out: snntorch, spikingjelly, not installed. Run `make nir-re")
    with pytest.raises(ReadersMissingError, match=r"^snntorch: not installed in .*`make nir-read"):
        prove(made / "generic", python=python, readers=["norse", "snntorch"])
    with pytest.raises(ReadersMissingError, match=r"^norse, snntorch, spikingjelly: not installed"):
        prove(made / "generic", python=stand_in())
    with pytest.raises(ReadersMissingError, match=r"^norse: not installed"):
        prove(made / "norse", python=python.with_name("none"))


def test_a_dialect_is_proven_in_its_reader(made, stand_in):
    proof = prove(made / "norse", python=stand_in(*READERS))
    assert [row.reader for row in proof.rows] == ["norse"]


@pytest.mark.parametrize("verdict", ["differs", "refused", "timed out"])
def test_readers_that_do_something_else_are_counted(made, stand_in, verdict):
    python = stand_in(*READERS, snntorch=verdict)
    proof = prove(made / "generic", python=python)
    assert (proof.mismatches, proof.wrong) == (1, ("snntorch",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"readers": ["nors"]}, "no NIR reader 'nors'.*Did you mean \"norse\""),
        ({"samples": 4}, "--samples 4: the export holds 1 to 3"),
    ],
)
def test_what_cannot_be_asked_for(made, options, said):
    with pytest.raises(UsageError, match=said):
        prove(made / "generic", **options)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_a_graph_that_was_damaged_before_it_was_signed(made, tmp_path, kept, stand_in):
    folder = shutil.copytree(made / "generic", tmp_path / "e")
    content = (folder / "network.nir").read_bytes()
    (folder / "network.nir").write_bytes(content[: int(kept * len(content))])
    sign_again(folder, "network.nir")
    with pytest.raises(DataError, match=r"network\.nir: cannot be read as NIR") as caught:
        prove(folder, python=stand_in(*READERS))
    assert "\n" not in str(caught.value)


def test_without_nir_the_way_to_get_it_is_told(made, monkeypatch, run, tmp_path):
    for name in [name for name in sys.modules if name.startswith("neuro.hardware.nir")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nir", None)
    monkeypatch.delattr("neuro.hardware.nir")
    with pytest.raises(MissingPackageError, match=r'pip install "neuro-snn\[nir\]"'):
        prove(made / "generic")
    with pytest.raises(MissingPackageError, match=r'pip install "neuro-snn\[nir\]"'):
        quick(run, tmp_path / "e", to="nir")
    assert list(tmp_path.iterdir()) == []


def test_which_python_has_readers(monkeypatch, tmp_path, stand_in):
    python = stand_in("norse")
    monkeypatch.setenv(VARIABLE, str(python))
    found = find_readers()
    assert (found.path, found.chosen_by) == (python, f"by {VARIABLE}")
    assert found.versions == {"norse": "1.0", **dict.fromkeys(READERS[1:])}
    assert found.missing == READERS[1:]
    assert find_readers(tmp_path / "none").chosen_by == "as named"
    assert find_readers(tmp_path / "none").missing == READERS
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    made = tmp_path / "env-readers" / "bin" / "python"
    made.parent.mkdir(parents=True)
    shutil.copy(python, made)
    assert find_readers().path == made
    assert find_readers().chosen_by == "beside the environment of neuro"


@pytest.mark.slow
def test_real_readers_come_to_the_same_outputs(made, readers):
    proof = prove(made / "generic", python=readers.path)
    assert [row.reader for row in proof.rows] == ["norse", "snntorch", "spikingjelly"]
    assert proof.mismatches == 0, proof.rows
    assert all(np.isclose(row.agreement, 1) for row in proof.rows)
    other = prove(made / "generic", python=readers.path, readers=["sinabs"])
    assert other.wrong == ("sinabs",)
