"""What a grid comes to: what is summed up, what is kept, which bars hold."""

from dataclasses import replace

import pytest

from benchmarks.cells import Cell, Launch
from benchmarks.command import CheckFailedError
from benchmarks.grid import above, at_least, halfway, within
from benchmarks.grid_result import GridResult, bars_of, check_bars, grid_cells, summarise
from benchmarks.grids import GRIDS
from benchmarks.records import read_result, write_result

MNIST = GRIDS["mnist"]


def ended(variant: str, seed: int, accuracy: float, **more: object) -> dict[str, object]:
    cell = Cell(MNIST, MNIST.variant(variant), seed)
    return {
        "variant": variant,
        "method": cell.variant.method,
        "seed": seed,
        "state": "finished",
        "arguments": list(cell.arguments),
        "gpu": None,
        "test_accuracy": accuracy,
        "seconds": 10.0,
        **more,
    }


def results(**accuracies: list[float]) -> dict[str, object]:
    records = [
        ended(variant, seed, value)
        for variant, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return summarise(MNIST, records)


def test_means_are_over_seeds_and_differences_to_the_baseline():
    found = results(ottt=[0.90, 0.92], opzo=[0.89, 0.90])
    assert found["rules"]["ottt"]["test_accuracy"]["mean"] == pytest.approx(0.91)
    assert found["rules"]["ottt"]["n"] == 2
    assert list(found["differences"]) == ["opzo"]
    assert found["differences"]["opzo"]["mean"] == pytest.approx(-0.015)


def test_a_diverged_run_is_counted_and_enters_no_mean():
    lost = {**ended("zo", 1, 0.0), "state": "diverged"}
    found = summarise(MNIST, [ended("zo", 0, 0.4), lost])
    assert found["rules"]["zo"]["diverged"] == 1
    assert found["rules"]["zo"]["test_accuracy"] == {"mean": 0.4, "std": None}
    alone = summarise(MNIST, [lost])
    assert "test_accuracy" not in alone["rules"]["zo"]
    assert alone["differences"] == {}


def test_bars_by_hand():
    grid = replace(
        MNIST,
        bars=(
            at_least("opzo", 0.98),
            within("opzo", "ottt", 0.4),
            above("opzo", "zo", 5),
            halfway("opzo", "dfa", "ottt"),
        ),
    )
    rules = {
        name: {"n": 3, "test_accuracy": {"mean": mean, "std": 0.0}}
        for name, mean in {"opzo": 0.981, "ottt": 0.986, "zo": 0.8, "dfa": 0.970}.items()
    }
    margins = [bar["margin"] for bar in bars_of(grid, rules)]
    assert margins == pytest.approx([0.001, -0.001, 0.131, 0.003])
    assert [bar["holds"] for bar in bars_of(grid, rules)] == [True, False, True, True]


def test_check_fails_on_a_bar_missed_and_on_one_not_measured(capsys):
    good = results(ottt=[0.985], opzo=[0.984], zo=[0.7])
    check_bars({**good, "grid": "mnist"})
    with pytest.raises(CheckFailedError, match="1 of 3"):
        check_bars(results(ottt=[0.995], opzo=[0.984], zo=[0.7]))
    with pytest.raises(CheckFailedError, match="2 of 3"):
        check_bars(results(opzo=[0.984]))
    assert "not measured" in capsys.readouterr().out


def test_records_of_another_machine_stay_while_their_command_is_the_same(tmp_path):
    file = tmp_path / "mnist.json"
    stale = {**ended("dfa", 0, 0.5), "arguments": ["train", "dfa", "--lr", "9"]}
    known = {"curves": {}, "threads": 1, "torch": "2", "cpu": "x"}
    old = summarise(MNIST, [ended("opzo", 0, 0.9, **known), stale])
    write_result(file, {"schema": 1, **old})
    result = GridResult(MNIST, file, Launch(tmp_path / "runs", None))
    result.write()
    cells = read_result(file, "accuracy")["cells"]
    assert [(cell["variant"], cell["test_accuracy"]) for cell in cells] == [("opzo", 0.9)]


def test_cells_go_seed_by_seed_so_that_early_results_compare_rules():
    order = [(cell.variant.name, cell.seed) for cell in grid_cells(MNIST, (4, 5))]
    assert order[: len(MNIST.variants)] == [(v.name, 4) for v in MNIST.variants]
    assert order[-1] == (MNIST.variants[-1].name, 5)
