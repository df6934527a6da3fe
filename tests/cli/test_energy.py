"""``neuro energy`` from end to end: what people and programs are told, and exit codes."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.energy.counters import counted_here, running_on
from tests.export.conftest import quick, run, trained

__all__ = ["run"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "json-output.md"


@pytest.fixture
def mine(run, tmp_path) -> Path:
    """A copy of a run, to write into."""
    return Path(shutil.copytree(run, tmp_path / "r"))


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory) -> Path:
    """An export of it; read only."""
    folder = tmp_path_factory.mktemp("exports") / "e"
    quick(run, folder)
    return folder


@pytest.fixture(scope="session")
def reasoner(tmp_path_factory) -> Path:
    """A tiny run of grsnn; read only."""
    from neuro.config import load_reason_config
    from neuro.training import train

    folder = tmp_path_factory.mktemp("runs") / "grsnn"
    tiny = {"epochs": 1, "batches_per_epoch": 2, "batch_size": 4, "negatives": 4, "threads": 1}
    config = load_reason_config(
        "grsnn", dataset="nations", method={"hidden": 8}, device="cpu", tensorboard=False,
        plots=False, **tiny,
    )  # fmt: skip
    train(config, run_dir=folder)
    return folder


def keys_of(value: object) -> set[str]:
    """Return the keys of objects within a JSON value, those of named things apart."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for key, each in value.items():
        by_name = key in ("rules", "break_even", "synapse", "phases", "stored", "rates")
        inside = list(each.values()) if by_name and isinstance(each, dict) else each
        found |= keys_of(inside)
    return found


def test_people_are_told_operations_energies_baselines_and_sources(command, mine):
    found = command("energy", "r", "--samples", 20)
    assert found.code == 0, found.err
    assert found.out.startswith("opzo on digits with mlp\n  r, checkpoint last\n")
    for part in ("coverage 100 %", "20 samples counted, 4 time steps", "accuracy ", "SynOps",
                 "lif1", "horowitz45-fp32", "(estimate, simulated)", "ann-fp32", "ann-int8",
                 "qnn-3bit", "not trained; --baselines trains it", "Break-even rate", "Training",
                 "Sensitivity of ", "Horowitz 2014"):  # fmt: skip
        assert part in found.out, part


def test_json_is_one_object_of_documented_keys(command, mine):
    found = command("energy", "r", "--samples", 20, "--per-step", "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert (record["schema"], record["estimate"], record["coverage"]) == (1, True, 1.0)
    assert (record["what"]["samples"], record["what"]["timesteps"]) == (20, 4)
    text = DOCUMENT.read_text("utf-8")
    for key in keys_of(record):
        assert f"`{key}`" in text or f'"{key}"' in text, key
    for profile in record["profiles"]:
        total = profile["total_pj"]
        assert 0 < total["low"] <= total["high"]  # a value that is a minimum lies below both
        parts = sum(layer["pj"]["value"] for layer in profile["layers"])
        assert parts == pytest.approx(total["value"])
        assert all(term["pj"]["value"] >= 0 for term in profile["terms"])
    for name, total in record["totals"].items():
        parts = sum(layer["counts"].get(name, 0) for layer in record["layers"])
        assert parts == pytest.approx(total), name
    for layer in record["layers"]:
        assert len(layer["steps"]) == 4
        for name, count in layer["counts"].items():
            assert sum(step.get(name, 0) for step in layer["steps"]) == pytest.approx(count)


def test_profiles_are_chosen_by_name_and_path(command, mine, tmp_path):
    from neuro.hardware import profile as profiles

    own = (Path(profiles.__file__).parent / "profiles" / "horowitz45-fp32.toml").read_text("utf-8")
    (tmp_path / "own.toml").write_text(own.replace('"horowitz45-fp32"', '"mine"', 1))
    found = command("energy", "r", "--samples", 4, "--json", "--profile", "own.toml", "loihi1")
    assert found.code == 0, found.err
    assert [each["name"] for each in json.loads(found.out)["profiles"]] == ["mine", "loihi1"]


@pytest.mark.parametrize(
    ("form", "ending", "opening"),
    [("md", "md", "# opzo on digits"), ("latex", "tex", "% opzo on digits"),
     ("html", "html", "<!DOCTYPE html>")],
)  # fmt: skip
def test_other_forms_go_to_a_file(command, mine, form, ending, opening):
    found = command("energy", "r", "--samples", 4, f"--{form}", "--output", f"x.{ending}")
    assert (found.code, found.out) == (0, f"Report: x.{ending}\n"), found.err
    assert Path(f"x.{ending}").read_text("utf-8").startswith(opening)
    assert not list(Path().glob(".x*"))


def test_the_ending_of_a_file_tells_its_form(command, mine):
    for ending, opening in (("html", "<!DOCTYPE html>"), ("md", "# opzo on"), ("dat", "opzo on")):
        found = command("energy", "r", "--samples", 4, "--output", f"x.{ending}")
        assert (found.code, found.out) == (0, f"Report: x.{ending}\n"), found.err
        assert Path(f"x.{ending}").read_text("utf-8").startswith(opening)
    found = command("energy", "r", "--samples", 4, "--output", "x.md", "--latex")
    assert found.code == 0, found.err
    assert Path("x.md").read_text("utf-8").startswith("% opzo on")  # what is named goes first


def test_a_page_without_a_name_lies_in_the_run(command, mine):
    found = command("energy", "r", "--samples", 4, "--html")
    assert (found.code, found.out) == (0, "Report: r/energy.html\n"), found.err
    assert (mine / "energy.html").is_file()


def test_json_goes_to_a_file_and_stdout(command, mine):
    found = command("energy", "r", "--samples", 4, "--json", "--output", "x.json")
    assert found.code == 0, found.err
    assert json.loads(found.out) == json.loads(Path("x.json").read_text("utf-8"))


def test_an_export_is_counted_as_its_integers_run(command, exported):
    found = command("energy", exported, "--json", "--profile", "loihi1")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert record["what"]["form"] == "export to loihi"
    assert record["what"]["samples"] == 3
    (profile,) = record["profiles"]
    parts = sum(layer["pj"]["value"] for layer in profile["layers"])
    terms = {term["name"]: term["pj"]["value"] for term in profile["terms"]}
    placed = terms["static power"] + terms["messages"] + terms["hops between tiles"]
    assert terms["static power"] > 0
    assert parts + placed == pytest.approx(profile["total_pj"]["value"])
    told = command("energy", exported, "--profile", "loihi1").out
    energies = told[told.index("Energy by layer") :].split("\n\n")[0]
    for name in ("static power", "messages", "hops between tiles"):
        assert f"\n  {name}  " in energies  # so that the column adds up to its total


def test_a_reasoner_is_counted_by_queries(command, reasoner):
    found = command("energy", reasoner, "--samples", 5, "--profile", "horowitz45-fp32", "--json")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    assert (record["what"]["unit"], record["what"]["samples"]) == ("queries", 5)
    assert record["measure"] == "mrr"
    layers = {layer["name"]: layer for layer in record["layers"]}
    assert sum(layer["parameters"] for layer in layers.values()) == record["parameters"]
    neurons, messages = layers["neurons"], layers["messages"]
    assert (neurons["kind"], neurons["neurons"], neurons["state"]) == (
        "neurons",
        14 * 8,
        2 * 14 * 8,
    )
    assert neurons["rate"] == pytest.approx(neurons["counts"]["spikes"] / (14 * 8 * 10))
    assert (messages["kind"], messages["signal"]) == ("messages", "binary")
    assert 0 < messages["rate"] < 1
    (priced,) = record["profiles"]
    terms = {term["name"]: term["pj"]["value"] for term in priced["terms"]}
    memory = [terms[f"memory: {part}"] for part in ("weights", "state", "activations")]
    with_memory = priced["with_memory_pj"]["value"]
    assert with_memory == pytest.approx(priced["total_pj"]["value"] + sum(memory))
    assert not any("no reads or writes" in words for words in priced["excluded"])
    told = command("energy", reasoner, "--samples", 5, "--profile", "horowitz45-fp32")
    assert "5 queries counted" in told.out
    rows = [line.split() for line in told.out.splitlines()]
    assert any(row[:3] == ["neurons", "neurons", "real"] and row[4] == "%" for row in rows)


def test_models_of_other_networks_refuse_a_reasoner(command, reasoner):
    found = command("energy", reasoner, "--samples", 2, "--profile", "lemaire45")
    assert found.code == 2
    assert "it has none for" in found.err
    assert "messages (messages)" in found.err


def test_baselines_are_trained_once_if_asked_for(command, tmp_path):
    trained(tmp_path / "r", rule={"name": "bptt"}, timesteps=2)
    first = command("energy", "r", "--samples", 4, "--json")
    assert [each["accuracy"] for each in json.loads(first.out)["baselines"]] == [None] * 3
    found = command("energy", "r", "--samples", 4, "--baselines", "--json")
    assert found.code == 0, found.err
    baselines = json.loads(found.out)["baselines"]
    assert [each["name"] for each in baselines] == ["ann-fp32", "ann-int8", "qnn-2bit"]
    assert all(0 < each["accuracy"] <= 1 for each in baselines)
    again = command("energy", "r", "--samples", 4, "--json")
    assert json.loads(again.out)["baselines"] == baselines
    text = DOCUMENT.read_text("utf-8")
    for key in keys_of(baselines):
        assert f"`{key}`" in text or f'"{key}"' in text, key
    budgets = {each["name"]: each["budget"] for each in baselines}
    assert all(0.003 in map(float, budget["rates"]) for budget in budgets.values())
    told = command("energy", "r", "--samples", 4).out
    for name in ("ann-fp32", "qnn-2bit"):
        lr, tried = budgets[name]["lr"], len(budgets[name]["rates"])
        assert f"{name} {lr:g} (best of {tried} on validation samples)" in " ".join(told.split())


def test_learning_rates_of_baselines_can_be_given(command, tmp_path):
    trained(tmp_path / "r", rule={"name": "bptt"}, timesteps=2)
    rates = ("--baseline-lr", "ann-fp32=0.001", "qnn=2e-3")
    found = command("energy", "r", "--samples", 4, "--baselines", *rates, "--json")
    assert found.code == 0, found.err
    budgets = [each["budget"] for each in json.loads(found.out)["baselines"]]
    assert [budget["lr"] for budget in budgets] == [0.001, 0.001, 0.002]
    assert all(budget["rates"] == {} for budget in budgets)
    other = command("energy", "r", "--samples", 4, "--baselines", "--baseline-lr", 0.001)
    assert (other.code, other.out) == (2, "")
    assert "qnn-2bit with a learning rate of 0.002, not 0.001. Remove" in other.err
    told = command("energy", "r", "--samples", 4).out
    assert "ann-fp32 0.001 (given), qnn-2bit 0.002 (given)" in " ".join(told.split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("r", "--profile", "horowitz45-fp23"), 2, 'Did you mean "horowitz45-fp32"'),
        (("r", "--profile", "loihi2"), 2, "No energies per event of Loihi 2"),
        (("r", "--profile", "none.toml"), 2, "none.toml"),
        (("r", "--profile", "unitless.toml"), 2, "unit"),
        (("r", "--profile", "missing.toml"), 2, '"value" is missing'),
        (("r", "--profile", "horowitz45-fp32", "truenorth"), 2, "allow mixed kinds"),
        (("r", "--samples", 0), 2, "--samples must be at least 1"),
        (("r", "--samples", 1000), 2, "--samples 1000: the test set holds 297"),
        (("r", "--html", "--json"), 2, "Choose one of --html and --json"),
        (("r", "--per-step"), 2, "--per-step is told by --json"),
        (("r", "--baseline-lr", 0.1), 2, "give --baselines, too"),
        (("r", "--baselines", "--baseline-lr", 0), 2, "above 0, got 0"),
        (("r", "--baselines", "--baseline-lr", "x"), 2, "--baseline-lr takes one learning rate"),
        (("r", "--baselines", "--baseline-lr", "0.1", "qnn=0.1"), 2, "got 0.1 qnn=0.1"),
        (("r", "--baselines", "--baseline-lr", "qnm=0.1"), 2, 'Did you mean "qnn"'),
        (("r", "--output", "nowhere/x.txt"), 2, "there is no folder nowhere"),
        (("r", "--checkpoint", "bset"), 1, 'Did you mean "best"'),
        (("empty",), 2, "has no checkpoint yet"),
        (("none",), 1, "There is no run folder none"),
        (("taken",), 1, "taken is not a run folder"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(command, mine, tmp_path, arguments, code, said):
    (tmp_path / "taken").mkdir()
    shutil.copytree(mine, tmp_path / "empty", ignore=shutil.ignore_patterns("checkpoints"))
    for name, table in (("unitless", "value = 1.0"), ("missing", 'unit = "pJ"')):
        text = f'name = "{name}"\n[addition_energy]\n{table}\n'
        text += 'kind = "assumed"\nsource = "me"\nyear = 2020\n'
        (tmp_path / f"{name}.toml").write_text(text)
    before = sorted(tmp_path.rglob("*"))
    found = command("energy", *arguments)
    assert (found.code, found.out) == (code, "")
    assert said in found.err
    assert re.fullmatch(r"neuro: [^\n]*\n", found.err)
    assert sorted(tmp_path.rglob("*")) == before


def test_kinds_are_mixed_where_asked_for(command, mine):
    found = command("energy", "r", "--samples", 4, "--profile", "horowitz45-fp32", "truenorth",
                    "--mixed-kinds", "--json")  # fmt: skip
    assert found.code == 0, found.err
    assert len(json.loads(found.out)["profiles"]) == 2


def test_a_run_is_measured_here(command, mine, tmp_path, monkeypatch):
    with running_on(tmp_path / "powercap", monkeypatch):
        found = command("energy", "r", "--samples", 20, "--profile", "measured", "--json")
        mixed = command("energy", "r", "--samples", 20, "--profile", "loihi1", "measured",
                        "--mixed-kinds")  # fmt: skip
        unasked = command("energy", "r", "--profile", "measured", "loihi1")
    assert found.code == 0, found.err
    record = json.loads(found.out)
    (profile,) = record["profiles"]
    assert (profile["name"], profile["kind"], profile["layers"]) == ("measured", "measured", [])
    assert profile["total_pj"]["value"] > 0
    assert profile["measurement"]["passes"] >= 5
    assert record["totals"]["spikes"] > 0
    assert all(each["profiles"][0]["total_pj"] is None for each in record["baselines"])
    text = DOCUMENT.read_text("utf-8")
    for key in keys_of(record):
        assert f"`{key}`" in text or f'"{key}"' in text, key
    assert mixed.code == 0, mixed.err
    for part in ("(estimate, measured)", "(estimate, simulated)", "RAPL counters of",
                 "waiting as long as a sample takes"):  # fmt: skip
        assert part in mixed.out, part
    assert (unasked.code, unasked.out) == (2, "")
    assert "allow mixed kinds" in unasked.err


def test_a_reasoner_is_measured_and_an_export_is_not(
    command, reasoner, exported, tmp_path, monkeypatch
):
    with running_on(tmp_path / "powercap", monkeypatch):
        found = command("energy", reasoner, "--samples", 5, "--profile", "measured", "--json")
        refused = command("energy", exported, "--profile", "measured")
    assert found.code == 0, found.err
    assert json.loads(found.out)["profiles"][0]["total_pj"]["value"] > 0
    assert (refused.code, refused.out) == (2, "")
    assert "Measure the run that it was made of" in refused.err


@pytest.mark.parametrize("verb", [("energy", "r"), ("compare", "r", "r")])
def test_a_machine_without_counters_says_so_before_it_counts(
    command, mine, tmp_path, monkeypatch, verb
):
    counted_here(tmp_path / "none", monkeypatch)
    monkeypatch.setattr("neuro.reports.run.open_run", lambda *_: pytest.fail("it was opened"))
    found = command(*verb, "--profile", "measured")
    assert (found.code, found.out) == (2, "")
    assert re.fullmatch(r"neuro: This machine cannot measure energy: [^\n]*\n", found.err)
