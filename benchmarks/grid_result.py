"""What a grid of runs comes to: means over seeds, differences, bars; kept in one result file."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, Launch, cell_record
from benchmarks.command import CheckFailedError
from benchmarks.comparison import mean_and_std, paired_difference
from benchmarks.grid import Grid
from benchmarks.grids import find_grid
from benchmarks.records import origin, read_result, write_result


class GridResult:
    """The result file of a grid, written anew from the run folders whenever a cell ends.

    Cells of the file whose run folders lie elsewhere are kept, so long as their command is still
    the one the grid gives.
    """

    def __init__(
        self, grid: Grid, file: Path, launch: Launch, overrides: tuple[str, ...] = ()
    ) -> None:
        self._grid = grid
        self._file = file
        self._launch = launch
        self._overrides = overrides
        self._kept = self._read_old()

    def holds(self, cell: Cell) -> bool:
        """Tell whether the file has a record of a cell."""
        return (cell.variant.name, cell.seed) in self._kept

    def write(self) -> None:
        """Collect every cell that has ended, of any selection, and write the file."""
        records = dict(self._kept)
        for cell in grid_cells(self._grid, self._seeds(), self._overrides):
            record = cell_record(cell, self._launch)
            if record is not None:
                records[cell.variant.name, cell.seed] = record
        if not records:
            return
        order = [variant.name for variant in self._grid.variants]
        ordered = sorted(records.values(), key=lambda r: (order.index(r["variant"]), r["seed"]))
        write_result(self._file, self._summary(ordered))

    def _summary(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        opening = origin(self._command(), threads=self._launch.threads)
        return {**opening, **summarise(self._grid, records)}

    def _seeds(self) -> tuple[int, ...]:
        """The grid's seeds, and any other that has a run folder."""
        folder = self._launch.root / (self._grid.folder or self._grid.name)
        found = {
            int(path.name.rpartition("-s")[2].partition("-")[0])
            for path in folder.glob("*-s*-*")
            if path.is_dir()
        }
        return tuple(sorted({*self._grid.seeds, *found}))

    def _read_old(self) -> dict[tuple[str, int], dict[str, Any]]:
        if not self._file.exists():
            return {}
        names = {variant.name for variant in self._grid.variants}
        kept = {}
        for record in read_result(self._file, self._grid.task.kind)["cells"]:
            if record["variant"] not in names:
                continue
            variant = self._grid.variant(record["variant"])
            cell = Cell(self._grid, variant, record["seed"], self._overrides)
            if list(cell.arguments) == record["arguments"]:
                kept[variant.name, cell.seed] = record
        return kept

    def _command(self) -> list[str]:
        words = ["python", "-m", "benchmarks.accuracy", self._grid.name]
        words += ["--jobs", str(self._launch.jobs)]
        for text in self._overrides:
            words += ["--set", text]
        if self._launch.data_dir is not None:
            words += ["--data-dir", str(self._launch.data_dir)]
        return words


def summarise(grid: Grid, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the result file of a grid: means, differences from the baseline, bars, all cells."""
    finished = [record for record in records if record["state"] == "finished"]
    names = [variant.name for variant in grid.variants]
    by_variant = {name: [r for r in finished if r["variant"] == name] for name in names}
    rules = {
        name: {
            "method": grid.variant(name).method,
            "n": len(cells),
            "seeds": [cell["seed"] for cell in cells],
            "diverged": sum(r["variant"] == name and r["state"] == "diverged" for r in records),
            **{
                quantity: mean_and_std([cell[quantity] for cell in cells])
                for quantity in grid.task.quantities
                if cells and all(cell.get(quantity) is not None for cell in cells)
            },
        }
        for name, cells in by_variant.items()
        if any(record["variant"] == name for record in records)
    }
    measured = {
        name: {cell["seed"]: cell[grid.task.measure] for cell in cells}
        for name, cells in by_variant.items()
    }
    differences = {
        name: paired_difference(measured[name], measured[grid.baseline])
        for name in rules
        if name != grid.baseline
    }
    devices = {"cuda" if record["gpu"] else "cpu" for record in finished}
    return {
        "kind": grid.task.kind,
        "grid": grid.name,
        "title": grid.title,
        "dataset": grid.dataset,
        "devices": sorted(devices),
        "settings": dict(grid.settings),
        "quantity": grid.task.explanation,
        "rules": rules,
        "baseline": grid.baseline,
        "test": "two-sided paired t-test over seeds; beyond noise means p < 0.05",
        "differences": {name: each for name, each in differences.items() if each is not None},
        "bars": bars_of(grid, rules),
        **({"anchors": [asdict(anchor) for anchor in grid.anchors]} if grid.anchors else {}),
        "cells": list(records),
    }


def bars_of(grid: Grid, rules: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each bar of the grid whose variants all have runs, with what was measured."""
    found = []
    for bar in grid.bars:
        if all(bar.quantity in rules.get(name, {}) for name in bar.weights):
            value = sum(
                weight * rules[name][bar.quantity]["mean"] for name, weight in bar.weights.items()
            )
            seeds = min(rules[name]["n"] for name in bar.weights)
            margin = value - bar.at_least
            found.append({"text": bar.text, "margin": margin, "seeds": seeds, "holds": margin >= 0})
    return found


def check_bars(result: dict[str, Any]) -> None:
    """Print every bar of a result file.

    Raises:
        CheckFailedError: one does not hold, or one of the grid was not measured.
    """
    grid = find_grid(result["grid"])
    measured = {bar["text"]: bar for bar in bars_of(grid, result["rules"])}
    failed = 0
    for bar in grid.bars:
        found = measured.get(bar.text)
        failed += found is None or not found["holds"]
        verdict = "not measured"
        if found is not None:
            verdict = f"{'holds' if found['holds'] else 'FAILS'} (margin {found['margin']:+.4f})"
        print(f"{bar.text}: {verdict}")
    if failed:
        raise CheckFailedError(f"{failed} of {len(grid.bars)} bars of {grid.name} do not hold.")


def grid_cells(grid: Grid, seeds: Sequence[int], overrides: tuple[str, ...] = ()) -> list[Cell]:
    """Return the cells of a grid, seed by seed, so that early results compare all rules."""
    return [Cell(grid, variant, seed, overrides) for seed in seeds for variant in grid.variants]
