"""Energy of trained networks: from runs to reports and tables."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import energy as module
from benchmarks.command import run
from benchmarks.energy import energy
from benchmarks.grid import Grid, Variant
from benchmarks.grids import find_grid
from benchmarks.records import read_result
from benchmarks.tables import render

SMALL = {"epochs": 1, "model.hidden": [12], "timesteps": 4}
GRIDS = {
    "digits": Grid(
        name="digits",
        title="small",
        dataset="digits",
        settings=SMALL,
        variants=(Variant(name="opzo", method="opzo"), Variant(name="bptt", method="bptt")),
        baseline="bptt",
    ),
    "umls": replace(
        find_grid("umls"),
        dataset="nations",
        settings={"epochs": 1, "batches_per_epoch": 2, "method.hidden": 8},
        variants=(Variant(name="grsnn", method="grsnn"), Variant(name="nbfnet", method="nbfnet")),
    ),
}


@pytest.fixture
def measured(monkeypatch, tmp_path, capsys) -> Any:
    monkeypatch.setattr(module, "find_grid", GRIDS.__getitem__)

    def of(*arguments: str) -> int:
        folders = {"runs": "r", "results": "out/energy.json", "documents": "docs"}
        words = [word for key, name in folders.items() for word in (f"--{key}", tmp_path / name)]
        return run(energy, [*map(str, words), *arguments])

    return of


def test_runs_become_reports_and_tables(measured, tmp_path: Path, capsys):
    assert measured("--only", "digits,umls", "--seeds", "0") == 0, capsys.readouterr().err
    record = read_result(tmp_path / "out" / "energy.json", "energy")
    assert [(row["network"], row["variant"]) for row in record["rows"]] == [
        ("digits", "opzo"),
        ("umls", "grsnn"),
        ("umls", "nbfnet"),
    ]
    digits, grsnn, _ = record["rows"]
    assert [each["name"] for each in digits["baselines"]] == ["ann-fp32", "ann-int8", "qnn-3bit"]
    assert all(0 < each["accuracy"] <= 1 for each in digits["baselines"])
    assert digits["run"] == "runs/benchmarks/digits/opzo-s0"
    assert grsnn["measure"] == "mrr"
    assert str(tmp_path) not in (tmp_path / "out" / "energy.json").read_text("utf-8")

    whole = json.loads((tmp_path / "out" / "energy" / "digits.json").read_text("utf-8"))
    assert whole["totals"] == digits["totals"]
    document = (tmp_path / "docs" / "digits.md").read_text("utf-8")
    assert document.startswith("# opzo on digits with mlp\n")
    assert str(tmp_path) not in document + (tmp_path / "docs" / "umls-grsnn.md").read_text("utf-8")

    text = render(tmp_path / "out")
    line = next(each for each in text.splitlines() if each.startswith("| `digits` | 1 |"))
    accuracies = [digits["accuracy"], *(each["accuracy"] for each in digits["baselines"])]
    for accuracy in accuracies:
        assert f"{100 * accuracy:.2f}" in line
    ratio = digits["baselines"][0]["profiles"][0]["ratio"]
    assert f"{ratio['value']:.2g} ({ratio['low']:.2g} to {ratio['high']:.2g})" in text
    assert "| `digits` | `opzo` |" in text
    assert "| `umls` | `grsnn` |" in text

    # what is there and still trained so is kept; what is not there may be left out
    capsys.readouterr()
    assert measured("--only", "digits", "--seeds", "1", "--trained-only") == 0
    assert "digits/opzo-s1: not trained, left out" in "".join(capsys.readouterr())
    assert read_result(tmp_path / "out" / "energy.json", "energy")["rows"] == record["rows"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "digit"), "--only digit: no such network. Did you mean"),
        (("--only", "digits", "--seeds", "a"), "--seeds takes whole numbers"),
        (("--only", "digits", "--trained-only"), "No network is trained"),
    ],
)
def test_wrong_use_is_told_in_one_message(measured, capsys, arguments, said):
    assert measured(*arguments) == 2
    assert said in capsys.readouterr().err
