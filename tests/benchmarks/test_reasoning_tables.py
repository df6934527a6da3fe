"""The tables of graph reasoning say what the result files say."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells import Cell
from benchmarks.graph_grids import BUDGETS
from benchmarks.grid_result import summarise
from benchmarks.grids import GRIDS
from benchmarks.highlights import highlights
from benchmarks.records import origin, write_result
from benchmarks.tables import read_results, render

WN18RR_BUDGET = f"{BUDGETS['wn18rr'].epochs} epochs of {BUDGETS['wn18rr'].batches} batches"


def ended(grid: str, variant: str, seed: int, **measures: float) -> dict[str, Any]:
    cell = Cell(GRIDS[grid], GRIDS[grid].variant(variant), seed)
    return {
        "variant": variant,
        "method": cell.variant.method,
        "seed": seed,
        "state": "finished",
        "command": "neuro train",
        "arguments": list(cell.arguments),
        "gpu": None,
        "cpu": "Test CPU",
        "threads": 1,
        "torch": "2.13.0",
        "parameters": 12345,
        "seconds": 90.0,
        "peak_memory_mb": 400.0,
        **{f"{name}_best_validation": value for name, value in measures.items()},
    }


def write(folder: Path, grid: str, *cells: dict[str, Any]) -> None:
    record = {**origin(["python", "-m", "benchmarks.accuracy", grid])}
    write_result(folder / f"{grid}.json", {**record, **summarise(GRIDS[grid], cells)})


def rows(text: str, start: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(start)
    ]


def facts(mrr: float) -> dict[str, float]:
    return {"mrr": mrr, "mrr_realistic": mrr, "mr": 12.25} | {
        f"hits_at_{count}": mrr for count in (1, 3, 10)
    }


def test_rows_are_graphs_and_methods_and_links_have_a_table_of_their_own(tmp_path: Path) -> None:
    spiking = {**facts(0.5), "firing_rate": 0.125}
    write(
        tmp_path,
        "umls",
        ended("umls", "grsnn", 0, **spiking),
        ended("umls", "nbfnet", 0, **facts(0.75)),
    )
    write(tmp_path, "cora", ended("cora", "nbfnet", 0, auroc=0.9, average_precision=0.875))
    text = render(tmp_path)
    first, second = rows(text, "| `umls`")
    budget = f"{BUDGETS['umls'].epochs} epochs"
    assert first[1:7] == [budget, "`grsnn`", "0.500", "0.500", "12.2", "0.500"]
    assert first[9:11] == ["-", "-"]
    assert first[11:15] == ["12,345", "0.125", "1.5", "1 of 3"]
    assert first[15] == "`python -m benchmarks.accuracy umls --only grsnn`"
    assert second[12] == "-"
    (links,) = rows(text, "| `cora`")
    assert links[2:5] == ["`nbfnet`", "0.900 (0.956)", "0.875 (0.962)"]
    heading = rows(text, "| graph")
    assert heading[1][3:5] == ["AUROC", "AP"]
    assert "[`cora.json`](../benchmarks/results/cora.json)" in text
    assert "README of NBFNet" in text
    assert "Test CPU with 1 thread" in text
    assert text.count("#### Graph reasoning") == 1


def test_the_short_table_has_graphs_of_several_seeds(tmp_path: Path) -> None:
    for grid, seeds in (("umls", (0, 1)), ("kinship", (0,))):
        cells = [ended(grid, "grsnn", seed, **facts(0.5), firing_rate=0.125) for seed in seeds]
        cells += [ended(grid, "nbfnet", seed, **facts(0.75 + seed / 10)) for seed in seeds]
        write(tmp_path, grid, *cells)
    text = highlights(read_results(tmp_path))
    budget = f"{BUDGETS['umls'].epochs} epochs"
    (row,) = rows(text, "| UMLS")
    assert row[1:3] == ["MRR", f"0.500 ± 0.000, {budget}"]
    assert row[3:] == [f"0.800 ± 0.071, {budget}", "0.125"]
    assert "Kinship" not in text


def test_the_graph_with_a_learning_curve_is_told_in_a_sentence(tmp_path: Path) -> None:
    for grid in ("wn18rr", "fb237_v3"):
        write(tmp_path, grid, ended(grid, "grsnn", 0, **{**facts(0.5), "hits_at_10": 0.625}))
    lines = highlights(read_results(tmp_path)).strip().splitlines()
    where = f"the whole test set of WN18RR, {WN18RR_BUDGET}, 1 seed"
    assert lines == [f"- `grsnn` on {where}: MRR 0.500, Hits@10 0.625."]


@pytest.mark.parametrize(("hits", "verdict"), [(0.82, "yes"), (0.81, "no")])
def test_a_bar_stands_beside_a_graph_trained_as_long_as_published(
    tmp_path: Path, hits: float, verdict: str
) -> None:
    measures = {**facts(0.5), "hits_at_10_of_50": 0.85, "hits_at_10_of_50_itself": hits}
    write(tmp_path, "fb237_v1", ended("fb237_v1", "nbfnet", 0, **measures))
    write(tmp_path, "fb237_v3", ended("fb237_v3", "nbfnet", 0, **measures))
    text = render(tmp_path)
    assert rows(text, "| `fb237_v1`")[0][9:11] == ["0.850", f"{hits:.3f} (0.834)"]
    assert rows(text, "| `fb237_v3`")[0][10] == f"{hits:.3f} (0.951)"
    assert f"published 83.4 % of hits_at_10_of_50_itself: **{verdict}**" in text
    assert "95.1 %" not in text


def test_ablations_are_compared_with_the_first_row_by_seed(tmp_path: Path) -> None:
    cells = [
        ended("ablation-umls", name, seed, **facts(base + seed / 100))
        for name, base in (("grsnn", 0.5), ("not-delay", 0.45))
        for seed in (0, 1)
    ]
    write(tmp_path, "ablation-umls", *cells)
    found = rows(render(tmp_path), "| `umls`")
    assert [row[2] for row in found] == ["`grsnn`", "`not-delay`"]
    assert found[0][6] == "-"
    assert found[1][6].startswith("-5.00 ± 0.00, p < 0.001")
    assert found[1][10] == "2 of 3"


def test_a_diverged_run_is_counted_and_the_picture_of_one_graph_is_shown(tmp_path: Path) -> None:
    lost = {**ended("wn18rr", "grsnn", 0), "state": "diverged"}
    write(tmp_path, "wn18rr", lost)
    text = render(tmp_path)
    (row,) = rows(text, "| `wn18rr`")
    assert row[1] == WN18RR_BUDGET
    assert row[3] == "-"
    assert row[14] == "0 of 1, 1 diverged"
    assert "(images/wn18rr.png)" in text
