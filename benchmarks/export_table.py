"""The table of networks exported to chips."""

from typing import Any

from benchmarks.markdown import machine_of, source, table

HEADER = (
    "network",
    "chip",
    "form",
    "float (%)",
    "integers (%)",
    "test samples",
    "samples proven",
    "numbers that differ: reference / Lava / netx",
    "simulator (ms a sample)",
    "Lava, steps (ms)",
    "Lava, start (s)",
    "Lava / simulator, steps",
    "with the start",
    "cores (chips)",
    "fullest core",
    "command",
)


def render_exports(record: dict[str, Any], file: str) -> str:
    """Return the table of networks on chips."""
    times = [row["time"] for row in record["rows"]]
    cores = " or ".join(str(each) for each in sorted({time["cores"] for time in times}))
    versions = sorted({_versions(row["lava"]) for row in record["rows"]})
    refused = [
        f"netx cannot hold `{row['network']}` on {row['profile']}: {row['netx_refused']}"
        for row in record["rows"]
        if row["netx_refused"]
    ]
    return "\n".join(
        [
            "#### Networks as integers, in Lava",
            "",
            table(HEADER, [_row(row) for row in record["rows"]]),
            "",
            f"{source([file], machine_of(record))} {'; '.join(versions)}. Networks of short "
            "training, hard reset; float and integers answer the whole test set. Proven: spikes, "
            "currents and potentials of all neurons and steps are those of the simulator. Times in "
            f"turns, the fastest of each, which has {cores} cores: the simulator takes the whole "
            "test set, Lava the samples proven, and starts its processes anew for each.",
            *(["", *refused] if refused else []),
            "",
        ]
    )


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    proof, time, placed = row["proof"], row["time"], row["placement"]
    differ = (proof["mismatches"].get(engine) for engine in ("reference", "lava", "netx"))
    fullest = placed["fullest"]
    return (
        f"`{row['network']}`, {row['model']}",
        row["profile"],
        row["form"],
        f"{100 * row['float_accuracy']:.2f}",
        f"{100 * row['integer_accuracy']:.2f}",
        f"{row['test_samples']:,}",
        f"{proof['samples']}",
        " / ".join("-" if count is None else f"{count}" for count in differ),
        f"{time['simulator']['each']['min_ms']:.2g}",
        f"{time['lava']['steps']['min_ms']:.0f}",
        f"{time['lava']['start']['min_s']:.2f}",
        f"{time['steps_over_simulator']:,.0f}",
        f"{time['whole_over_simulator']:,.0f}",
        f"{placed['cores']} ({placed['chips']})",
        f"{fullest['share']:.0%} of {fullest['resource'].replace('_', ' ').split(' per ')[0]}",
        f"`python -m benchmarks.exports --only {row['network']}`",
    )


def _versions(found: dict[str, Any]) -> str:
    return f"lava-nc {found['lava-nc']}, lava-dl {found['lava-dl']}, Python {found['python']}"
