"""``neuro export`` from end to end: what people and programs are told, and exit codes."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from neuro.export.folder import read_export
from tests.export.conftest import run, soft

__all__ = ["run", "soft"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "json-output.md"
QUICK = ("--calibrate", 32, "--samples", 2, "--accuracy", 40)


@pytest.fixture
def mine(run, tmp_path) -> Path:
    """A copy of a run, to write into."""
    return Path(shutil.copytree(run, tmp_path / "r"))


def test_people_are_told_what_was_lost_and_what_is_full(command, mine):
    found = command("export", "r", *QUICK)
    assert found.code == 0, found.err
    assert found.out.startswith("opzo on digits with mlp: r/export-loihi-loihi2\n")
    for part in ("integer accuracy", "% of 40", "same answer", "1 of 128", "synapse bits",
                 "weight error", "lif1", "readout"):  # fmt: skip
        assert part in found.out
    assert found.out.endswith(
        "neuro verify r/export-loihi-loihi2 proves it, register by register.\n"
    )
    assert found.err == (
        "Quantising for loihi2 on 32 training samples.\nComparing accuracies on the test set.\n"
    )
    assert len(read_export(mine / "export-loihi-loihi2").samples()) == 2


def test_json_is_one_object_of_documented_keys(command, mine):
    found = command("export", "r", *QUICK, "--to", "netx", "--output", "e", "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert (record["folder"], record["schema"]) == ("e", 1)
    manifest = json.loads(Path("e/manifest.json").read_text())
    assert {**manifest, "folder": "e", "schema": 1} == {
        **record,
        **{name: manifest[name] for name in ("version", "neuro", "files")},
    }
    text = DOCUMENT.read_text("utf-8")
    for key in (*record, *record["layers"][0], *record["comparison"], *record["placement"]):
        assert f"`{key}`" in text, key
    assert record["comparison"]["samples"] == 40
    assert 0 <= record["comparison"]["agreement"] <= 1


def test_a_nir_graph(command, mine):
    found = command("export", "r", "--to", "nir", "--samples", 2)
    assert found.code == 0, found.err
    assert "NIR graph for generic: 6 nodes, 5 edges" in found.out
    record = json.loads(command("export", "r", "--to", "nir", "--dialect", "norse", "--json").out)
    assert record["folder"] == "r/export-nir-norse"
    assert (record["to"], record["dialect"], record["schema"]) == ("nir", "norse", 1)
    text = DOCUMENT.read_text("utf-8")
    assert all(f"`{key}`" in text for key in record)


def test_the_command_that_is_told_trains_a_run_that_can_be_exported(command, soft, tmp_path):
    shutil.copytree(soft, tmp_path / "with soft")
    refused = command("export", "with soft", *QUICK)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert not list((tmp_path / "with soft").glob("*export*"))
    told = refused.err.split("Train such ones: neuro ")[1].split(", or take")[0]
    assert told == "train --config 'with soft/config.json' --set 'model.reset=\"hard\"'"
    trained = command("train", "--config", "with soft/config.json", "--set", 'model.reset="hard"',
                      "--run-dir", "hard", "--quiet")  # fmt: skip
    assert trained.code == 0, trained.err
    assert command("export", "hard", *QUICK).code == 0
    assert command("export", "with soft", *QUICK, "--profile", "loihi2-microcode").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("r", "--to", "lavva"), 2, 'Did you mean "lava"'),
        (("r", "--profile", "loihi3"), 2, 'Did you mean "loihi'),
        (("r", "--profile", "loihi1"), 2, "spikes of loihi1 carry none"),
        (("r", "--to", "nir", "--dialect", "nors"), 2, 'Did you mean "norse"'),
        (("r", "--to", "nir", "--profile", "loihi2"), 2, "--profile names a chip"),
        (("r", "--dialect", "norse"), 2, "--dialect is of NIR graphs; --to is loihi"),
        (("r", "--samples", 1000), 2, "--samples 1000: the test set holds 297"),
        (("r", "--chips", 0), 2, "--chips must be at least 1"),
        (("r", "--checkpoint", "bset"), 1, 'Did you mean "best"'),
        (("r", "--output", "taken"), 2, "taken exists and is not empty"),
        (("none",), 1, "There is no run folder none"),
        (("taken",), 1, "taken is not a run folder"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(command, mine, tmp_path, arguments, code, said):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    found = command("export", *arguments)
    assert (found.code, found.out) == (code, "")
    assert said in found.err
    assert found.err.splitlines()[-1].startswith("neuro: ")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGINT, 130, "SIGINT"), (signal.SIGTERM, 143, "SIGTERM")],
)
def test_a_stop_leaves_nothing(command, mine, monkeypatch, tmp_path, number, code, name):
    def interrupted(*_: object, **__: object) -> None:
        assert list((tmp_path / "r").glob(".export*"))
        os.kill(os.getpid(), number)

    monkeypatch.setattr("neuro.export.make.place", interrupted)
    found = command("export", "r", *QUICK)
    assert (found.code, found.out) == (code, "")
    assert found.err.endswith(f"neuro: Stopped by {name}.\n")
    assert not list((tmp_path / "r").glob("*export*")) + list((tmp_path / "r").glob(".export*"))
