"""Numbers and tables as Markdown, and where they come from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NONE = "-"
Mean = Mapping[str, float | None]
"""Mean and standard deviation over seeds, as :func:`benchmarks.comparison.mean_and_std`."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(found: Mean | None, form: str) -> str:
    """Write mean ± standard deviation, each in ``form``."""
    if found is None or found["mean"] is None:
        return NONE
    text = format(found["mean"], form)
    return text if found["std"] is None else f"{text} ± {format(found['std'], form)}"


def percent(found: Mean | None) -> str:
    """Write a share of 1 in percent, mean ± standard deviation."""
    if found is None or found["mean"] is None:
        return NONE
    deviation = found["std"]
    return spread(
        {"mean": 100 * found["mean"], "std": None if deviation is None else 100 * deviation}, ".2f"
    )


def number(found: Mean | None, form: str) -> str:
    """Write a mean alone."""
    return NONE if found is None or found["mean"] is None else format(found["mean"], form)


def difference(name: str, record: dict[str, Any]) -> str:
    """Write the difference of a variant from the baseline, in points, and what is said of it."""
    found = record["differences"].get(name)
    if found is None:
        return NONE
    text = f"{100 * found['mean']:+.2f}"
    if found["p_value"] is None:
        return text
    verdict = "beyond noise" if found["beyond_noise"] else "within noise"
    p_value = f"p = {found['p_value']:.2g}" if found["p_value"] >= 0.001 else "p < 0.001"
    return f"{text} ± {100 * found['ci95']:.2f}, {p_value}, {verdict}"


def source(files: Sequence[str], machine: str) -> str:
    """Say which files a table is made from, and where they were measured."""
    links = ", ".join(f"[`{file}`](../benchmarks/results/{file})" for file in files)
    return f"From {links}, measured on {machine}."


def machine_of(record: dict[str, Any]) -> str:
    """Return the machine of a result measured in one process."""
    machine, versions = record["machine"], record["versions"]
    return _described(machine["cpu"], machine["threads"], versions["packages"]["torch"])


def machines_of(records: Iterable[dict[str, Any]]) -> str:
    """Return the machines of the cells of grids."""
    machines = {
        _described(cell["gpu"] or cell["cpu"], cell["threads"], cell["torch"])
        for record in records
        for cell in record["cells"]
    }
    return "; ".join(sorted(machines))


def _described(processor: str, threads: int, torch_version: str) -> str:
    plural = "" if threads == 1 else "s"
    return f"{processor} with {threads} thread{plural}, torch {torch_version}"
