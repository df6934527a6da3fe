"""The tables of operations as other tools count them, and of what counting costs."""

from typing import Any

from benchmarks.markdown import machine_of, source, table

HEADER = ("network", "tool", "its figure", "theirs", "ours", "theirs - ours", "why")


def render_agreement(record: dict[str, Any], file: str) -> str:
    """Return what coincides in words, and a row for each figure that does not."""
    rows = record["rows"]
    same = [row for row in rows if row["difference"] == 0]
    versions = ", ".join(f"{tool} {version}" for tool, version in record["tools"].items())
    networks = "; ".join(f"`{name}`: {title}" for name, title in record["cases"].items())
    return "\n".join(
        [
            "#### Operations as other tools count them",
            "",
            f"{len(same)} of {len(rows)} figures are equal. The others:",
            "",
            table(HEADER, [_row(row) for row in rows if row["difference"]]),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}` "
            f"(`make bench-peers`). {versions}; {record['batch']} samples of "
            f"{record['timesteps']} steps. {networks}. Each figure that differs is the tool's "
            "definition worked out product by product, to the last digit.",
            "",
        ]
    )


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"`{row['case']}`",
        row["tool"],
        row["quantity"],
        f"{row['theirs']:g}",
        f"{row['ours']:g} ({row['column'].replace('_', ' ')})",
        f"{row['difference']:+g}",
        row["reason"],
    )


def render_counting(record: dict[str, Any], file: str) -> str:
    """Return the table of evaluation with and without counting."""
    rows = []
    for each in record["networks"].values():
        plain, counted = (each["times"][name] for name in ("evaluation", "counting"))
        ratio = each["over_evaluation"]
        rows.append(
            (
                each["title"],
                f"{plain['median_ms']:.1f}",
                f"{counted['median_ms']:.1f}",
                f"{ratio['median']:.2f} ({ratio['p20']:.2f} to {ratio['p80']:.2f})",
            )
        )
    header = ("network and input", "evaluation (ms)", "with counting (ms)", "ratio")
    return "\n".join(
        [
            "#### What counting costs",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Medians of "
            f"{record['rounds']} interleaved passes, those of networks over {record['batches']} "
            f"batches of {record['batch_size']}; ratios (20th to 80th percentile) within a round.",
            "",
        ]
    )


def render_energy_cost(record: dict[str, Any], file: str) -> str:
    """Return the table of ordinary networks, evaluated with and without counting."""
    rows = []
    for each in record["networks"].values():
        times, ratio = each["times"], each["over_evaluation"]
        rows.append(
            (
                each["title"],
                *(f"{times[name]['median_ms']:.1f}" for name in ("evaluation", "counting")),
                f"{ratio['median']:.2f} ({ratio['p20']:.2f} to {ratio['p80']:.2f})",
            )
        )
    header = ("network and input", "evaluation (ms)", "with counting (ms)", "ratio")
    return "\n".join(
        [
            "#### What counting any module costs",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Networks "
            f"without spikes, by torch's dispatcher. Medians of {record['rounds']} interleaved "
            f"passes over {record['batches']} batches of {record['batch_size']}; ratios (20th to "
            "80th percentile) within a round.",
            "",
        ]
    )
