"""Energy of queries: from two tiny runs to the table."""

import json
from pathlib import Path

import pytest

from benchmarks.command import run
from benchmarks.reasoning_energy import reasoning_energy, row_of, training_command
from benchmarks.tables import render
from neuro.config import load_reason_config
from neuro.training import train

TINY = {
    "epochs": 1,
    "batches_per_epoch": 2,
    "batch_size": 4,
    "negatives": 4,
    "threads": 1,
    "device": "cpu",
    "tensorboard": False,
    "plots": False,
}
SMALL = {"grsnn": {"hidden": 8}, "grsnn+": {"hidden": 8}, "nbfnet": {"hidden": 8, "layers": 2}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """Train each method on each graph once."""
    folder = tmp_path_factory.mktemp("runs")

    def of(method: str, dataset: str = "nations") -> Path:
        run_dir = folder / f"{method}-{dataset}"
        if not run_dir.exists():
            config = load_reason_config(method, dataset=dataset, method=SMALL[method], **TINY)
            train(config, run_dir=run_dir)
        return run_dir

    return of


@pytest.mark.parametrize("method", ["grsnn", "grsnn+"])
def test_two_runs_become_a_table(trained, tmp_path, capsys, method):
    file = tmp_path / "results" / "reasoning-energy.json"
    given = [str(trained(method)), str(trained("nbfnet")), "--queries", "5"]
    assert run(reasoning_energy, [*given, "--results", str(file)]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("nations: 5 queries, firing rate ")
    assert printed[0].endswith("horowitz45-fp32 (simulated)")
    record = json.loads(file.read_text("utf-8"))
    assert record["graphs"].keys() == {"nations"}
    entry = record["graphs"]["nations"]
    assert (entry["nodes"], entry["queries"], entry["timesteps"], entry["layers"]) == (14, 5, 10, 2)
    assert entry["command"].endswith("GRSNN_RUN NBFNET_RUN --queries 5")
    assert str(tmp_path) not in file.read_text("utf-8")
    neurons = entry["operations"]["grsnn"]["neurons"]
    assert neurons["neuron_updates"] == 14 * 8 * 10
    assert entry["firing_rate"] == pytest.approx(neurons["spikes"] / (14 * 8 * 10))
    counted = {each["name"]: each for each in entry["accountings"]}
    released, skipped = counted["counted, as released"], counted["counted, silence skipped"]
    assert 0 < skipped["spiking_joules"]["joules"] <= released["spiking_joules"]["joules"]
    assert skipped["other_joules"] == released["other_joules"]
    text = render(file.parent)
    for line in printed[2:]:
        assert line.split("  ")[0] in text
    energies = [cell for row in text.splitlines() for cell in row.split("|") if "J " in cell]
    cells = [cell for cell in energies if cell.strip().split(" ")[-1] == "(estimate)"]
    assert len(cells) == 2 * len(entry["accountings"])


def test_graphs_are_merged_and_replaced(trained, tmp_path):
    file = tmp_path / "reasoning-energy.json"

    def measure(dataset: str, queries: int) -> dict:
        runs = [str(trained(method, dataset)) for method in ("grsnn", "nbfnet")]
        assert run(reasoning_energy, [*runs, f"--queries={queries}", f"--results={file}"]) == 0
        return json.loads(file.read_text("utf-8"))["graphs"]

    first = measure("nations", 3)
    both = measure("countries-s1", 2)
    assert both["nations"] == first["nations"]
    again = measure("nations", 2)
    assert again.keys() == both.keys() == {"nations", "countries-s1"}
    assert again["nations"]["queries"] == 2
    assert again["countries-s1"] == both["countries-s1"]


def test_wrong_runs_are_one_message(trained, tmp_path, capsys):
    def fails(*arguments: object) -> str:
        file = ["--results", str(tmp_path / "r.json")]
        assert run(reasoning_energy, [*map(str, arguments), *file]) != 0
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        return error

    grsnn, nbfnet = trained("grsnn"), trained("nbfnet")
    assert "then one of nbfnet" in fails(nbfnet, grsnn)
    assert "not on the same graph" in fails(grsnn, trained("nbfnet", "countries-s1"))
    assert "--queries must be >= 1, got 0" in fails(grsnn, nbfnet, "--queries", 0)
    assert "There is no run folder" in fails(grsnn, tmp_path / "none")
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    for name in ("config.json", "environment.json"):
        (stopped / name).write_text((grsnn / name).read_text())
    assert "is interrupted" in fails(stopped, nbfnet)
    assert not (tmp_path / "r.json").exists()


def test_a_run_is_named_by_the_command_that_trains_it():
    plain = load_reason_config("nbfnet", dataset="umls")
    assert training_command(plain) == "neuro train nbfnet --dataset umls"
    changed = load_reason_config(
        "grsnn", dataset="umls", method={"timesteps": 6}, seed=3, adversarial_temperature=None
    )
    assert set(training_command(changed).split(" --set ")) == {
        "neuro train grsnn --dataset umls",
        "method.timesteps=6",
        "seed=3",
        "adversarial_temperature=null",
    }


def test_rows_have_two_digits():
    row = {
        "name": "a",
        "spiking_joules": {"joules": 0.0},
        "other_joules": {"joules": 1e-3},
        "ratio": None,
        "rate_for_claim": None,
    }
    assert row_of(row) == ("a", "0 J (estimate)", "1 mJ (estimate)", "-", "none")
    row |= {"ratio": 123.4, "rate_for_claim": 1.7}
    assert row_of(row)[3:] == ("120", "any")
