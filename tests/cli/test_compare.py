"""``neuro compare`` from end to end."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.test_energy import DOCUMENT, exported, keys_of
from tests.energy.counters import running_on
from tests.export.conftest import run, soft

__all__ = ["exported", "run", "soft"]


@pytest.fixture
def two(run, soft, tmp_path) -> None:
    """Copies of two runs, ``a`` and ``b``."""
    shutil.copytree(run, tmp_path / "a")
    shutil.copytree(soft, tmp_path / "b")


def test_people_see_runs_side_by_side(command, two):
    found = command("compare", "a", "b", "--samples", 20)
    assert found.code == 0, found.err
    lines = {line.split("  ")[1].strip() if line.startswith("  ") else line: line
             for line in found.out.splitlines()}  # fmt: skip
    assert lines["result"].count("%") == 2
    assert lines["energy, horowitz45-fp32"].count("(estimate, simulated)") == 2
    assert lines["time steps"].split()[-2:] == ["4", "4"]
    assert "seconds a sample" not in lines


def test_json_is_one_object_of_documented_keys(command, two, exported):
    found = command("compare", "a", "b", exported, "--samples", 3, "--clock", "--json",
                    "--profile", "loihi1")  # fmt: skip
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert [each["what"]["run"] for each in record["runs"]] == ["a", "b", str(exported)]
    seconds = [each["latency"]["seconds"] for each in record["runs"]]
    assert seconds[0] > 0
    assert seconds[2] is None
    text = DOCUMENT.read_text("utf-8")
    for key in keys_of(record):
        assert f"`{key}`" in text or f'"{key}"' in text, key


def test_a_run_is_told_the_same_alone_and_beside_another(command, two):
    alone = json.loads(command("energy", "a", "--samples", 20, "--json").out)
    beside = json.loads(command("compare", "a", "b", "--samples", 20, "--json").out)["runs"][0]
    for key in ("what", "accuracy", "parameters", "totals"):
        assert beside[key] == alone[key]
    mine = [each["total_pj"] for each in beside["profiles"]]
    assert mine == [each["total_pj"] for each in alone["profiles"]]


def test_a_run_is_exactly_itself(command, two):
    found = json.loads(command("compare", "a", "a", "b", "--samples", 20, "--json").out)
    for place, _ in enumerate(found["profiles"]):
        first, same, other = (run["profiles"][place]["ratio"] for run in found["runs"])
        assert first == same == {"value": 1, "low": 1, "high": 1}
        assert other["low"] <= other["value"] <= other["high"]
        assert other["value"] != 1
    told = command("compare", "a", "a", "--samples", 20).out
    assert "over the first, horowitz45-fp32" in told


@pytest.mark.parametrize(("form", "ending"), [("md", "md"), ("html", "html"), ("latex", "tex")])
def test_other_forms_go_to_a_file(command, two, form, ending):
    found = command("compare", "a", "b", "--samples", 4, f"--{form}", "--output", f"x.{ending}")
    assert (found.code, found.out) == (0, f"Report: x.{ending}\n"), found.err
    assert "Side by side" in Path(f"x.{ending}").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("a",), 2, "two runs or more"),
        (("a", "none"), 1, "There is no run folder none"),
        (("a", "b", "--profile", "horowitz45-fp32", "truenorth"), 2, "allow mixed kinds"),
        (("a", "b", "--profile", "loihi2"), 2, "No energies per event of Loihi 2"),
    ],
)
def test_wrong_use_is_one_line(command, two, arguments, code, said):
    found = command("compare", *arguments)
    assert (found.code, found.out) == (code, "")
    assert said in found.err
    assert found.err.startswith("neuro: ")
    assert found.err.count("\n") == 1


def test_runs_are_measured_side_by_side(command, two, tmp_path, monkeypatch):
    arguments = ("compare", "a", "b", "--samples", 20, "--profile", "measured")
    with running_on(tmp_path / "powercap", monkeypatch):
        found = command(*arguments, "--json")
        told = command(*arguments, "truenorth")
        page = command(*arguments, "--html", "--output", "x.html")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    for each in record["runs"]:
        (profile,) = each["profiles"]
        assert profile["total_pj"]["value"] > 0
        assert profile["measurement"]["seconds"] > 0
    text = DOCUMENT.read_text("utf-8")
    for key in keys_of(record):
        assert f"`{key}`" in text or f'"{key}"' in text, key
    assert told.code == 0, told.err
    rows = [line.strip() for line in told.out.splitlines()]
    assert sum(row.startswith("above idle, measured") for row in rows) == 1
    assert not any(row.startswith("above idle, truenorth") for row in rows)
    assert page.code == 0, page.err
