"""Energy of trained networks: from runs to reports and tables."""

import json
import shutil
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
from neuro.reports.baselines import read_baselines

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


def test_other_seeds_take_the_rates_that_the_first_chose(measured, tmp_path: Path, capsys):
    assert measured("--only", "digits", "--seeds", "1") == 0, capsys.readouterr().err
    (row,) = read_result(tmp_path / "out" / "energy.json", "energy")["rows"]
    (first,) = (tmp_path / "r" / "digits").glob("opzo-s0-*/")
    chosen = read_baselines(first)
    assert sorted(chosen) == ["ann-fp32", "qnn-3bit"]
    assert len(chosen["ann-fp32"].budget["rates"]) >= 3
    for each in row["baselines"]:
        of = "ann-fp32" if each["name"] == "ann-int8" else each["name"]
        assert each["budget"]["lr"] == chosen[of].lr
        assert each["budget"]["rates"] == {}
    rates = f"ann-fp32={chosen['ann-fp32'].lr} qnn={chosen['qnn-3bit'].lr}"
    assert f"--baselines --baseline-lr {rates} --profile horowitz45-fp32" in row["commands"][1]

    assert measured("--only", "digits", "--seeds", "0") == 0, capsys.readouterr().err
    zero, one = read_result(tmp_path / "out" / "energy.json", "energy")["rows"]
    assert one == row
    assert "--baseline-lr" not in zero["commands"][1]
    budgets = [zero["baselines"][place]["budget"] for place in (0, 2)]
    assert [budget["rates"] for budget in budgets] == [
        chosen[name].budget["rates"] for name in ("ann-fp32", "qnn-3bit")
    ]
    text = render(tmp_path / "out")
    line = next(each for each in text.splitlines() if each.startswith("| `digits` | 2 |"))
    told = [f"{budget['lr']:g}, best of {len(budget['rates'])}" for budget in budgets]
    assert line.endswith(f"| {told[0]} | {told[1]} |")

    shutil.rmtree(first)
    capsys.readouterr()
    assert measured("--only", "digits", "--seeds", "1", "--trained-only") == 0
    said = "digits/opzo-s1: seed 0 tunes its baselines and is not trained, left out"
    assert said in "".join(capsys.readouterr())


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
