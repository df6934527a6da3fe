"""What a comparison of several models says, as one table."""

from collections.abc import Iterable, Sequence

from neuro.energy.reporting.cells import (
    joules,
    labelled,
    number,
    quality,
    ratio,
    shown,
    total_band,
    with_memory,
)
from neuro.energy.reporting.document import Document, Record, Table, by_profile
from neuro.energy.reporting.tables import COUNTED


def comparison(record: Record) -> Document:
    """Return what a comparison of several models says."""
    runs = record["runs"]
    rows = [
        ("checkpoint", *(shown(run["what"].get("checkpoint")) for run in runs)),
        ("judged by", *(shown(run["measure"]) for run in runs)),
        ("result", *(quality(run["measure"], run["accuracy"]) for run in runs)),
        ("parameters", *(number(run["parameters"]) for run in runs)),
        ("samples counted", *(number(run["what"]["samples"]) for run in runs)),
        ("time steps", *(number(run["latency"]["steps"]) for run in runs)),
        *_of_totals(runs),
    ]
    for place, profile in enumerate(record["profiles"]):
        priced = [run["profiles"][place] for run in runs]
        name = profile["name"]
        rows.append((f"energy, {name}", *(labelled(each) for each in priced)))
        rows.append((f"  5 to 95 %, {name}", *(total_band(each) for each in priced)))
        if any(each.get("ratio") for each in priced):
            rows.append((f"  over the first, {name}", *(ratio(each["ratio"]) for each in priced)))
        rows += _of_memory(name, priced)
        rows += _above_idle(name, priced)
    seconds = [run["latency"]["seconds"] for run in runs]
    if any(each is not None for each in seconds):
        rows.append(("seconds a sample", *("-" if s is None else f"{s:.2g}" for s in seconds)))
    names = (run["what"]["run"] for run in runs)
    note = "Operations and energy of a sample. Energies are estimates of the kind beside them"
    if any(each is not None for each in seconds):
        note += "; seconds were measured now, on this machine, one sample at a time"
    table = Table("Side by side", ("", *names), tuple(rows), f"{note}.")
    excluded = {
        f"{run['what']['run']}, {each['name']}": tuple(each["excluded"])
        for run in runs
        for each in run["profiles"]
    }
    return Document(
        "Comparison",
        (),
        (table,),
        {},
        excluded,
        by_profile(record, "notes"),
        by_profile(record, "citations"),
    )


def _of_memory(name: str, priced: Sequence[Record]) -> Iterable[tuple[str, ...]]:
    """Yield totals with the memory model, if a run has one."""
    if any(each.get("with_memory_pj") for each in priced):
        yield (f"  with memory, {name}", *(with_memory(each) or "-" for each in priced))
    if any(each.get("ratio_with_memory") for each in priced):
        ratios = (ratio(each["ratio_with_memory"]) for each in priced)
        yield (f"  with memory over the first, {name}", *ratios)


def _above_idle(name: str, priced: Sequence[Record]) -> Iterable[tuple[str, ...]]:
    """Yield what of a total was above what the machine draws anyway, if it was measured."""
    found = [each.get("measurement") for each in priced]
    if any(found):
        told = (joules(each["above_idle_pj"]["value"]) if each else "-" for each in found)
        yield (f"  above idle, {name}", *told)


def _of_totals(runs: Sequence[Record]) -> Iterable[tuple[str, ...]]:
    for key, words in COUNTED:
        yield words, *(number(run["totals"].get(key, 0)) for run in runs)
