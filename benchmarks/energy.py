"""What trained networks cost, estimated, beside fair networks without spikes.

Classifiers are the runs that OPZO trained for the tables of accuracy, reasoners the first seeds of
the graphs': ``python -m benchmarks.accuracy`` trains what is not there, and a run that is finished
stays. Each is counted by ``neuro energy`` on samples of its test set. The baselines of a classifier
(the same architecture with rectifiers, in 32-bit floats, in 8 bits, and in ceil(log2(T + 1)) bits)
are trained from the data of the run, so that accuracy stands beside energy. Those of seed 0 choose
their learning rates on its validation samples (:mod:`neuro.reports.baseline_tuning`); those of the
other seeds take these, so that each network is tuned once. The spiking network's learning rate is
the one that its grid or preset sets; it is not chosen here.

The report of each network's first seed is kept whole, as JSON beside the results and as Markdown
under ``docs/energy``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.accuracy import run_cells
from benchmarks.cells import Cell, Launch, cell_state
from benchmarks.command import main, say
from benchmarks.grid_result import grid_cells
from benchmarks.grids import find_grid
from benchmarks.records import (
    REPOSITORY,
    RESULTS,
    options_given,
    origin,
    public_command,
    read_result,
    write_result,
)
from neuro.energy import Report
from neuro.errors import NeuroError, UsageError, nearest
from neuro.reports import CountOptions, energy_report
from neuro.reports.baselines import train_baselines
from neuro.training.checkpoint import write_atomically

KIND = "energy"
RUNS = REPOSITORY / "runs" / "benchmarks"
DOCUMENTS = REPOSITORY / "docs" / "energy"
PROFILES = ("horowitz45-fp32", "horowitz45-int8", "loihi1")
LEMAIRE = "lemaire45"
STATIC_MLPS = ("digits", "mnist", "fashion-mnist")
"""Networks that the memory model of Lemaire et al. has formulas for: no pools, no graded inputs."""
CLASSIFIERS = (*STATIC_MLPS, "events-mnist", "cifar10")
REASONERS = ("umls", "kinship", "wn18rr_v1", "fb237_v1", "cora")
NETWORKS = (*CLASSIFIERS, *REASONERS)
FIRST = 0
"""The seed whose report is kept whole, and whose baselines choose their learning rates."""
TUNED = ("ann-fp32", "qnn")
_KEPT = ("accuracy", "measure", "parameters", "totals", "baselines", "break_even", "training")


@dataclass(frozen=True)
class Settings:
    """How runs are trained and counted."""

    launch: Launch
    train: bool
    reports: Path
    documents: Path


def energy(
    *,
    only: str | None = None,
    seeds: str = "0,1,2",
    trained_only: bool = False,
    jobs: int = 1,
    data_dir: Path | None = None,
    runs: Path = RUNS,
    results: Path | None = None,
    documents: Path = DOCUMENTS,
) -> None:
    """Count trained networks and their baselines, and estimate what they cost.

    Parameters
    ----------
    only
        Networks, separated by commas; default all. The others stay as the result file has them.
    seeds
        Seeds of the classifiers, separated by commas.
    trained_only
        Leave out runs that are not there, instead of training them.
    jobs
        Runs trained side by side.
    data_dir
        Folder with the data; default the download folder.
    runs
        Folder of the run folders.
    results
        Result file; default benchmarks/results/energy.json. Whole reports go into a folder of its
        name beside it.
    documents
        Folder for the reports as Markdown.
    """
    file = results or RESULTS / "energy.json"
    folder = None if data_dir is None else data_dir.resolve()
    settings = Settings(
        Launch(runs.resolve(), folder, jobs=jobs), not trained_only, file.with_suffix(""), documents
    )
    given = {"seeds": seeds, "data_dir": data_dir}
    command = ["python", "-m", "benchmarks.energy", *options_given(energy, **given)]
    rows = _kept(file)
    for cell in _cells(only, _numbers(seeds)):
        if not _is_trained(cell, settings):
            say(f"{cell.title}: not trained, left out")
            continue
        if cell.seed != FIRST and not _is_trained(_first(cell), settings):
            say(f"{cell.title}: seed {FIRST} tunes its baselines and is not trained, left out")
            continue
        rows[_key(cell)] = measure(cell, settings)
        ordered = sorted(rows.values(), key=_order)
        write_result(file, {**origin(command, threads=1), "kind": KIND, "rows": ordered})
    if not rows:
        raise UsageError("No network is trained; leave --trained-only out.")


def _cells(only: str | None, seeds: Sequence[int]) -> Iterator[Cell]:
    names = NETWORKS if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in NETWORKS:
            raise UsageError(
                f"--only {name}: no such network.{nearest(name, NETWORKS)} There are: "
                f"{', '.join(NETWORKS)}."
            )
    for name in names:
        grid = find_grid(name)
        methods = ("opzo",) if name in CLASSIFIERS else ("grsnn", "nbfnet")
        chosen = seeds if name in CLASSIFIERS else (FIRST,)
        for cell in grid_cells(grid, chosen):
            if cell.variant.name in methods:
                yield cell


def _numbers(seeds: str) -> list[int]:
    try:
        return [int(part) for part in seeds.split(",")]
    except ValueError:
        raise UsageError(f"--seeds takes whole numbers separated by commas, got {seeds}.") from None


def _is_trained(cell: Cell, settings: Settings) -> bool:
    if settings.train:
        failures = run_cells([cell], settings.launch, lambda _: None)
        if failures:
            raise NeuroError(failures[0])
    return cell_state(cell, settings.launch.root) == "finished"


def measure(cell: Cell, settings: Settings) -> dict[str, Any]:
    """Return what one run costs; keep the whole report of a first seed."""
    run, launch = cell.folder(settings.launch.root), settings.launch
    spiking = cell.grid.name in CLASSIFIERS
    rates = _rates(cell, settings) if spiking else {}
    profiles = (*PROFILES, *([LEMAIRE] if cell.grid.name in STATIC_MLPS else []))
    say(f"{cell.title}: counting")
    made = energy_report(
        run,
        profiles,
        options=CountOptions(data_dir=launch.data_dir),
        train=spiking,
        baseline_lr=rates or None,
    ).to_json()
    what = {**made["what"], "run": f"runs/benchmarks/{cell.grid.name}/{cell.name}"}
    report = Report({**made, "what": what})
    if cell.seed == FIRST:
        _keep(report, cell, settings)
    words = ["neuro", "energy", "RUN", *(["--baselines"] if spiking else [])]
    if rates:
        words += ["--baseline-lr", *(f"{name}={rate}" for name, rate in rates.items())]
    return {
        "network": cell.grid.name,
        "variant": cell.variant.name,
        "seed": cell.seed,
        "arguments": list(cell.arguments),
        "commands": [launch.public_command(cell), public_command([*words, "--profile", *profiles])],
        **what,
        **{key: made[key] for key in _KEPT},
        "rates": {
            layer["name"]: layer["rate"] for layer in made["layers"] if layer["kind"] == "neurons"
        },
        "profiles": [_priced(profile) for profile in made["profiles"]],
    }


def _first(cell: Cell) -> Cell:
    return replace(cell, seed=FIRST)


def _rates(cell: Cell, settings: Settings) -> dict[str, float]:
    """Return the learning rates that baselines of the first seed chose; none for that seed."""
    if cell.seed == FIRST:
        return {}
    say(f"{cell.title}: baselines take the learning rates of seed {FIRST}")
    launch = settings.launch
    tuned = train_baselines(
        _first(cell).folder(launch.root), which=TUNED, data_dir=launch.data_dir, note=say
    )
    return {name: found.lr for name, found in zip(TUNED, tuned.values(), strict=True)}


def _priced(profile: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "kind", "family", "total_pj", "with_memory_pj")
    return {key: profile.get(key) for key in keys}


def _keep(report: Report, cell: Cell, settings: Settings) -> None:
    name = cell.grid.name
    if name in REASONERS:
        name += f"-{cell.variant.name}"
    settings.reports.mkdir(parents=True, exist_ok=True)
    settings.documents.mkdir(parents=True, exist_ok=True)
    report.save(settings.reports / f"{name}.json", "json")
    write_atomically(settings.documents / f"{name}.md", report.markdown().encode())


def _key(cell: Cell) -> tuple[str, str, int]:
    return cell.grid.name, cell.variant.name, cell.seed


def _order(row: Mapping[str, Any]) -> tuple[int, str, int]:
    return NETWORKS.index(row["network"]), row["variant"], row["seed"]


def _kept(file: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return rows of a result file whose networks are still trained as they were."""
    if not file.exists():
        return {}
    rows = {}
    for row in read_result(file, KIND)["rows"]:
        grid = find_grid(row["network"])
        now = {_key(cell): list(cell.arguments) for cell in grid_cells(grid, (row["seed"],))}
        key = row["network"], row["variant"], row["seed"]
        if now.get(key) == row["arguments"]:
            rows[key] = row
    return rows


if __name__ == "__main__":
    main(energy)
