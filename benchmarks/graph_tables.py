"""The tables of kernels on graphs: time and memory of messages, and of judging a whole test set."""

from typing import Any

from benchmarks.graph import factors
from benchmarks.graph_row import CONTENDERS
from benchmarks.markdown import machine_of, source, table


def render_relational(record: dict[str, Any], file: str) -> str:
    """Return the table of relational products beside torch's gather and scatter."""
    most = str(max(record["threads"]))
    rows = [
        (
            row["graph"],
            row["aggregate"],
            row["direction"],
            f"{row['times'][most]['torch']['median_ms']:.0f}",
            f"{row['times'][most]['neuro']['median_ms']:.1f}",
            f"{row['times'][most]['torch_over_ours']['median']:.1f}",
            f"{row['times']['1']['torch_over_ours']['median']:.1f}",
            f"{row['memory_mb']['torch']:.0f}",
            f"{row['memory_mb']['neuro']:.0f}",
        )
        for row in record["rows"]
    ]
    header = (
        "graph",
        "aggregate",
        "direction",
        "torch (ms)",
        "neuro (ms)",
        "torch / neuro",
        "with 1 thread",
        "torch (MiB)",
        "neuro (MiB)",
    )
    return "\n".join(
        [
            "#### Messages on relational graphs",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Medians of "
            f"{record['rounds']} interleaved steps in one process, float32, graphs drawn with the "
            "sizes and unevenness of the data sets named. Memory is what a step takes beyond its "
            "operands, in a fresh process; torch gathers, multiplies and scatters.",
            "",
        ]
    )


def render_graph(record: dict[str, Any], file: str) -> str:
    """Return the table of delayed messages beside naive torch."""
    rows = []
    for name, found in record["tasks"].items():
        ours, naive = (found["contenders"][each] for each in CONTENDERS)
        time, memory = factors(found)
        rows.append(
            (
                name,
                f"{found['share_of_neurons_that_fire']:.1%}",
                f"{naive['median_ms']:,.0f}",
                f"{ours['median_ms']:.1f}",
                f"{time:,.0f}",
                f"{naive['peak_memory_mb']:,.0f}",
                f"{ours['peak_memory_mb']:.0f}",
                f"{memory:.0f}",
            )
        )
    header = (
        "task",
        "neurons that fire",
        "naive torch (ms)",
        "neuro (ms)",
        "torch / neuro",
        "torch (MiB)",
        "neuro (MiB)",
        "torch / neuro",
    )
    return "\n".join(
        [
            "#### Delayed messages on knowledge graphs",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Medians of "
            f"{record['rounds']} interleaved calls in one process, 10 steps of 32 neurons a node, "
            "float32; decoded spikes and gradients are compared before. Memory is the peak of one "
            "call in a fresh process. Naive torch gathers and scatters a message of every edge.",
            "",
        ]
    )


def render_ranking(record: dict[str, Any], file: str) -> str:
    """Return the time to judge a whole test set."""
    trained = "a trained" if record["trained"] else "an untrained"
    return "\n".join(
        [
            "#### Judging a whole test set",
            "",
            f"Both sides of {record['triples']:,} of {record['of']:,} test triples of "
            f"{record['dataset']} among {record['nodes']:,} nodes by {trained} GRSNN: "
            f"**{record['seconds']:.0f} s** (`{record['command']}`). "
            f"{source([file], machine_of(record))}",
            "",
        ]
    )
