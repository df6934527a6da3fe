"""Measure again what ``benchmarks/results`` holds; each part is also a command of its own."""

from pathlib import Path

import torch

from benchmarks.accuracy import accuracy
from benchmarks.command import main, say
from benchmarks.counting import counting
from benchmarks.energy import energy
from benchmarks.energy_cost import energy_cost
from benchmarks.exports import exports
from benchmarks.figures import figures
from benchmarks.gradients import gradients
from benchmarks.graph import graph
from benchmarks.grids import COLLECTIONS, GRIDS
from benchmarks.memory import EVENTS, memory
from benchmarks.ranking import ranking
from benchmarks.relational import relational
from benchmarks.synapses import synapses
from benchmarks.tables import tables
from benchmarks.warm_start import warm_start
from neuro.hardware.lava.interpreter import LavaMissingError


def everything(*, data_dir: Path | None = None, jobs: int = 1) -> None:
    """Run all grids, measure all that has a table, draw, and write the tables.

    Takes hours; runs that are finished stay, stopped ones continue. Time per sample and per
    layer is measured beside other frameworks by `make bench-peers`. Grids for a GPU are left out
    where there is none, exports where there is no Lava.

    Parameters
    ----------
    data_dir
        Folder with the data; default the download folder.
    jobs
        Training runs side by side.
    """
    collected = {grid.name for grids in COLLECTIONS.values() for grid in grids}
    for name, grid in GRIDS.items():
        if name in collected:
            continue
        if grid.settings.get("device") == "cuda" and not torch.cuda.is_available():
            say(f"{name}: left out, it needs a GPU")
            continue
        say(f"== {name}")
        accuracy(name, jobs=jobs, data_dir=data_dir)
    for name in COLLECTIONS:
        say(f"== {name}")
        accuracy(name, jobs=jobs, data_dir=data_dir)
    for name in ("mnist", "cifar10"):
        say(f"== gradients of {name}")
        gradients(name, data_dir=data_dir)
    say("== memory")
    memory()
    memory(**EVENTS)
    say("== warm start")
    warm_start()
    say("== synapses")
    synapses()
    say("== relational")
    relational()
    say("== delayed messages, ranking")
    graph(data_dir=data_dir or Path("data"))
    ranking(data_dir=data_dir or Path("data"))
    say("== energy, and what counting costs")
    energy(data_dir=data_dir, jobs=jobs)
    counting()
    energy_cost()
    say("== exports")
    try:
        exports(data_dir=data_dir)
    except LavaMissingError as error:
        say(f"exports: left out. {error}")
    figures()
    tables()


if __name__ == "__main__":
    main(everything)
