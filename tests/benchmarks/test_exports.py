"""Exports: what is trained, measured and written, and what is claimed of it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import exports as module
from benchmarks.accuracy import run_cells
from benchmarks.cells import Cell, Launch
from benchmarks.command import CheckFailedError, run
from benchmarks.export_networks import NETWORKS, PROFILES
from benchmarks.exports import (
    KIND,
    Settings,
    check_bars,
    export,
    exports,
)
from benchmarks.grid import Grid, Variant
from benchmarks.grid_result import grid_cells
from benchmarks.records import origin, read_result, write_result
from benchmarks.tables import render
from neuro.errors import UsageError
from neuro.export.folder import read_export
from neuro.export.run import load_classifier, messages_of_test_set
from neuro.hardware.fixed_point import answers
from neuro.hardware.fixed_point import run as simulate
from neuro.hardware.lava.interpreter import Interpreter
from tests.hardware.lava.conftest import lava as lava  # a fixture

TINY = Grid(
    name="tiny",
    title="Digits in no time",
    dataset="digits",
    settings={"model.reset": "hard", "model.hidden": [8], "timesteps": 2, "epochs": 2},
    variants=(Variant(name="digits", method="opzo"),),
    seeds=(0,),
)
NO_LAVA = Interpreter(
    path=Path(sys.executable), chosen_by="", python="", lava="", lava_dl=None, numpy=None
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained network."""
    folder = tmp_path_factory.mktemp("runs")
    assert not run_cells([tiny()], Launch(folder, None), lambda _: None)
    return folder


@pytest.fixture
def only_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NETWORKS", TINY)
    monkeypatch.setattr(module, "PROFILES", {"digits": ("loihi2",)})


def tiny() -> Cell:
    (cell,) = grid_cells(TINY, TINY.seeds)
    return cell


def settings(root: Path, lava: Interpreter = NO_LAVA) -> Settings:
    return Settings(samples=2, rounds=1, launch=Launch(root, None), lava=lava)


def test_every_network_has_its_chips_and_is_reset_to_zero():
    assert PROFILES.keys() == {variant.name for variant in NETWORKS.variants}
    for cell in grid_cells(NETWORKS, NETWORKS.seeds):
        assert cell.config().to_json()["model"]["reset"] == "hard"


def test_the_whole_test_set_is_what_the_accuracy_is_of(root):
    run_folder = tiny().folder(root)
    report, refused = export(run_folder, "loihi2", settings(root))
    assert refused is None
    assert report.folder == run_folder / "export-netx-loihi2"
    made = read_export(report.folder)
    assert len(made.samples()) == 2
    graph = made.graph()
    session = load_classifier(run_folder)
    batches = list(messages_of_test_set(session, graph))
    given = np.concatenate([answers(graph, simulate(graph, inputs)) for inputs in batches])
    comparison = made.manifest["comparison"]
    targets = session.dataset.test.targets.numpy()
    assert len(given) == comparison["samples"] == 297
    assert float(np.mean(given == targets)) == comparison["integer_accuracy"]


def test_what_netx_refuses_is_exported_for_lava_and_said(root, monkeypatch):
    export_run = module.export_run

    def refusing(run_folder: Path, folder: Path, options: Any, **rest: Any) -> Any:
        if options.to == "netx":
            raise UsageError("netx reads a chain of layers.")
        return export_run(run_folder, folder, options, **rest)

    monkeypatch.setattr(module, "export_run", refusing)
    for _ in range(2):  # the second takes the place of the first
        report, refused = export(tiny().folder(root), "loihi2", settings(root))
        assert refused == "netx reads a chain of layers."
        assert read_export(report.folder).form == "lava"
    assert not (tiny().folder(root) / "export-netx-loihi2").exists()


def test_a_network_is_trained_exported_proven_and_timed(root, only_tiny, lava, tmp_path, capsys):
    file = tmp_path / "exports.json"
    words = ["--samples", "2", "--rounds", "2", "--runs", str(root), "--results", str(file)]
    assert run(exports, [*words, "--lava-python", str(lava.path)]) == 0
    assert "tiny/digits-s0: finished already" in capsys.readouterr().err
    (row,) = read_result(file, KIND)["rows"]
    assert row["proof"]["samples"] == 2
    assert row["proof"]["neurons"] == 18
    assert row["proof"]["spikes"] > 0
    assert row["proof"]["mismatches"] == {"reference": 0, "lava": 0, "netx": 0}
    assert row["time"]["simulator"]["samples"] == 297
    assert row["time"]["lava"]["samples"] == 2
    assert row["time"]["lava"]["steps"]["min_ms"] > 0
    assert row["time"]["steps_over_simulator"] < row["time"]["whole_over_simulator"]
    assert (row["placement"]["cores"], row["placement"]["chips"]) == (1, 1)
    assert str(lava.path) not in file.read_text("utf-8")
    with pytest.raises(CheckFailedError):  # of 2 samples
        check_bars(read_result(file, KIND))
    assert "samples proven in netx: 2, at least 20: FAILS" in capsys.readouterr().out


def row(network: str = "digits", profile: str = "loihi2", **changes: Any) -> dict[str, Any]:
    (cell,) = (each for each in grid_cells(NETWORKS, (0,)) if each.variant.name == network)
    return {
        "network": network,
        "dataset": network,
        "model": "mlp",
        "profile": profile,
        "form": "netx",
        "netx_refused": None,
        "arguments": list(cell.arguments),
        "test_samples": 10_000,
        "float_accuracy": 0.98,
        "integer_accuracy": 0.975,
        "proof": {"samples": 20, "mismatches": {"reference": 0, "lava": 0, "netx": 0}},
        "lava": {"lava-nc": "0.10.0", "lava-dl": "0.6.0", "python": "3.11.7", "numpy": "2.4.6"},
        "time": {
            "cores": 2,
            "simulator": {"each": {"min_ms": 0.0512}},
            "lava": {"steps": {"min_ms": 19.4}, "start": {"min_s": 0.31}},
            "steps_over_simulator": 379.0,
            "whole_over_simulator": 6430.0,
        },
        "placement": {
            "cores": 12,
            "chips": 1,
            "fullest": {"resource": "synapse_bits_per_core", "share": 0.977},
        },
        **changes,
    }


def whole(**changes: Any) -> dict[str, Any]:
    """Return a record of all networks, one of them changed."""
    places = [(name, profile) for name in PROFILES for profile in PROFILES[name]]
    rows = [row(*place) for place in places]
    rows[1] |= changes
    return {**origin(["python", "-m", "benchmarks.exports"]), "kind": KIND, "rows": rows}


def worse() -> Iterator[dict[str, Any]]:
    found = row()
    yield {"integer_accuracy": 0.9749}
    yield {"proof": {"samples": 19, "mismatches": {"lava": 0, "netx": 0}}, "form": "lava"}
    yield {"proof": {"samples": 20, "mismatches": {"lava": 0, "netx": 1}}}
    yield {"proof": {"samples": 20, "mismatches": {"lava": 0}}}
    yield {"time": {**found["time"], "steps_over_simulator": 99.9}}


def test_check_holds_each_bar(capsys):
    check_bars(whole())
    assert "FAILS" not in capsys.readouterr().out
    check_bars(whole(form="lava", proof={"samples": 20, "mismatches": {"lava": 0}}))
    for changes in worse():
        with pytest.raises(CheckFailedError, match="1 bars"):
            check_bars(whole(**changes))
    lacking = whole()
    del lacking["rows"][0]
    with pytest.raises(CheckFailedError, match="1 bars"):
        check_bars(lacking)


def test_rows_of_networks_that_are_trained_otherwise_are_dropped(tmp_path, only_tiny):
    file = tmp_path / "exports.json"
    assert module._kept(file) == {}
    kept = row(arguments=list(tiny().arguments))
    for changes, places in (({}, {("digits", "loihi2")}), ({"arguments": ["train"]}, set())):
        write_result(file, {**whole(), "rows": [{**kept, **changes}]})
        assert module._kept(file).keys() == places


def test_the_table_states_accuracy_proof_time_and_place(tmp_path):
    refusal = {"form": "lava", "netx_refused": "no chain", "proof": row()["proof"]}
    refusal["proof"] = {"samples": 20, "mismatches": {"reference": 0, "lava": 0}}
    write_result(tmp_path / "exports.json", whole(**refusal))
    text = render(tmp_path)
    assert (
        "| `digits`, mlp | loihi2 | netx | 98.00 | 97.50 | 10,000 | 20 | 0 / 0 / 0 | 0.051 | 19 | "
        "0.31 | 379 | 6,430 | 12 (1) | 98% of synapse bits | "
        "`python -m benchmarks.exports --only digits` |"
    ) in text
    assert "| lava | 98.00 | 97.50 | 10,000 | 20 | 0 / 0 / - |" in text
    assert "netx cannot hold `mnist` on loihi2: no chain" in text
    assert "lava-nc 0.10.0, lava-dl 0.6.0, Python 3.11.7" in text


def test_wrong_use_is_told_in_one_message(tmp_path, capsys):
    results = ["--results", str(tmp_path / "exports.json"), "--runs", str(tmp_path / "runs")]
    for words, message in (
        (["--rounds", "3", "--samples", "2"], "--rounds must be 1 to the 2 of --samples, got 3"),
        (["--only", "no-such", "--lava-python", sys.executable], "has no lava-nc"),
        (["--check"], "There is no result file"),
    ):
        assert run(exports, [*results, *words]) != 0
        assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    names = [cell.variant.name for cell in module._chosen("mnist, digits")]
    assert names == ["digits", "mnist"]
    with pytest.raises(UsageError, match="no variant 'mnits'"):
        module._chosen("mnits")
