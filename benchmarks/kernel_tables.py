"""The tables of kernels: time and memory of layers, synapses, training steps and first calls."""

from pathlib import Path
from typing import Any

from benchmarks.kept import RECOMPUTE
from benchmarks.markdown import NONE, machine_of, source, table
from benchmarks.memory import growth_by_rule
from benchmarks.speed import PEER
from benchmarks.synapses import SPARSE


def render_memory(record: dict[str, Any], file: str) -> str:
    """Return the table of peak memory over T."""
    steps = sorted({row["timesteps"] for row in record["rows"]})
    growth = growth_by_rule(record)
    gradients = record.get("gradients_mb")
    rows = []
    for rule in growth:
        found = {row["timesteps"]: row for row in record["rows"] if row["rule"] == rule}
        cells = [f"{found[step]['update_mb']:.1f}" if step in found else "" for step in steps]
        rows.append((f"`{rule}`", *cells, f"{growth[rule]:.2f}"))
    header = ("rule", *(f"T = {step} (MiB)" for step in steps), "largest / smallest")
    return "\n".join(
        [
            f"#### Peak memory of one update, {record['network']}, batch of {record['batch_size']}",
            "",
            f"![Peak memory over time steps](images/{Path(file).stem}.png)",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. A fresh "
            "process for each number; beyond weights and program; inputs are streamed."
            + (f" The gradients alone take {gradients:.1f} MiB." if gradients else ""),
            "",
        ]
    )


def render_speed(record: dict[str, Any], file: str) -> str:
    """Return the table of time per training sample."""
    rows = []
    for each in record["workloads"].values():
        for contender, found in each["contenders"].items():
            rows.append(
                (
                    f"{each['title']}, T = {each['timesteps']}, B = {each['batch_size']}",
                    f"`{contender}`",
                    f"{found['median_us']:.0f} ({found['p20_us']:.0f} to {found['p80_us']:.0f})",
                    f"{each['opzo_over'][contender]['median']:.2f}",
                )
            )
    header = ("network and input", "rule", "µs per training sample", "opzo / rule")
    version = record["spikingjelly"]
    peer = f" `{PEER}` is SpikingJelly {version}, with equal gradients." if version else ""
    return "\n".join(
        [
            "#### Time per training sample",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`"
            f"{' (`make bench-peers`)' if version else ''}. Median (20th to 80th percentile) of "
            f"{record['rounds']} interleaved steps in one process; no weight standardisation in "
            f"any contender.{peer}",
            "",
        ]
    )


def render_layers(record: dict[str, Any], file: str) -> str:
    """Return the table of a LIF layer's time and memory."""
    rows = []
    for name, found in record["contenders"].items():
        cells = []
        for quantity in ("forward", "forward_backward"):
            times = found[quantity]
            spread = f"({times['p20_ms']:.2f} to {times['p80_ms']:.2f})"
            cells += [f"{times['median_ms']:.2f} {spread}", f"{times['over_neuro']['median']:.2f}"]
        equal, kept = found.get("equal_spikes"), found.get("saved_bytes")
        cells.append(NONE if kept is None else f"{kept:.1f}")
        cells.append(NONE if equal is None else f"{100 * equal:.2f}")
        rows.append((name, *cells))
    header = (
        "contender",
        "forward (ms)",
        "/ neuro",
        "forward + backward (ms)",
        "/ neuro",
        "bytes kept",
        "equal spikes (%)",
    )
    sizes = f"T = {record['timesteps']}, B = {record['batch_size']}, N = {record['neurons']}"
    peers = record["peers"] or {}
    versions = ", ".join(f"{name} {version}" for name, version in peers.items())
    absent = "; ".join(f"{name}: {reason}" for name, reason in record["absent"].items())
    return "\n".join(
        [
            f"#### One LIF layer over a whole sequence, {sizes}",
            "",
            f"![Time of a LIF layer](images/{Path(file).stem}.png)",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`"
            f"{' (`make bench-peers`)' if peers else ''}. Median (20th to 80th percentile) of "
            f"{record['rounds']} interleaved calls in one process; bytes that autograd keeps for "
            "backward, by neuron and time step; `copy` computes nothing and moves the memory that "
            f"any layer must.{f' Versions: {versions}.' if peers else ''}"
            f"{f' Absent: {absent}' if absent else ''}",
            "",
        ]
    )


def render_kept(record: dict[str, Any], file: str) -> str:
    """Return the table of what backward keeps of a synapse and its layer."""
    least = record["contenders"][RECOMPUTE]["bytes_kept"]
    rows = []
    for name, found in record["contenders"].items():
        times = found["forward_backward"]
        rows.append(
            (
                name,
                f"{found['bytes_kept']:.2f}",
                f"{found['bytes_kept'] / least:.1f}",
                f"{times['median_ms']:.1f} ({times['p20_ms']:.1f} to {times['p80_ms']:.1f})",
                f"{times['over_neuro']['median']:.2f}",
            )
        )
    header = (
        "contender",
        "bytes kept",
        f"/ {RECOMPUTE}",
        "forward + backward (ms)",
        "/ neuro",
    )
    sizes = f"T = {record['timesteps']}, B = {record['batch_size']}, N = {record['neurons']}"
    version = record["spikingjelly"]
    return "\n".join(
        [
            f"#### What backward keeps of a dense synapse and its LIF layer, {sizes}",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`"
            f"{' (`make bench-peers`)' if version else ''}. Bytes by neuron and time step that the "
            "forward pass leaves in memory besides weights and spikes sent, the spikes received "
            "included; `recompute` is `rule.recompute` of `bptt`, with equal gradients. Median "
            f"(20th to 80th percentile) of {record['rounds']} interleaved steps in one process."
            f"{f' SpikingJelly {version}.' if version else ''}",
            "",
        ]
    )


def render_warm_start(record: dict[str, Any], file: str) -> str:
    """Return the tables of first calls and of whole processes."""
    rows = []
    for op, found in record["ops"].items():
        cold, warm = found["cold"], found["warm"]
        milliseconds = (cold["first_seconds"], warm["first_seconds"], warm["second_seconds"])
        functions = (cold["compiled"], warm["compiled"])
        rows.append(
            (
                f"`{op}`",
                *(f"{1e3 * seconds:.{0 if seconds > 0.1 else 2}f}" for seconds in milliseconds),
                " / ".join(f"{number:.0f}" for number in functions),
            )
        )
    header = (
        "op",
        "first call, empty cache (ms)",
        "first call, warm (ms)",
        "next call (ms)",
        "functions compiled, empty / warm",
    )
    processes = [(f"`{name}`", f"{seconds:.2f}") for name, seconds in record["processes"].items()]
    return "\n".join(
        [
            "#### Warm start",
            "",
            table(header, rows),
            "",
            table(("process", "s"), processes),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Median of "
            f"{record['repeats']} fresh processes. Compiled kernels are kept on disk; first calls "
            "are timed once Numba and torch's compiler, which torch imports at the first custom "
            "operation, are imported. The second table is of whole processes.",
            "",
        ]
    )


def render_synapses(record: dict[str, Any], file: str) -> str:
    """Return the table of synapses from events beside the dense product."""
    most = str(max(record["threads"]))
    rows = []
    for layer in record["layers"]:
        points = layer["curves"][most]["points"]
        found = {each["density"]: each for each in points}
        cells = []
        for density in (0.001, SPARSE, 0.1):
            cells.append(f"{found[density]['dense_over']['neuro']['median']:.1f}")
        alone = {each["density"]: each for each in layer["curves"]["1"]["points"]}
        crossing = layer["curves"][most]["crossing"]
        rows.append(
            (
                layer["name"],
                f"{found[SPARSE]['times']['dense']['median_ms']:.2f}",
                f"{found[SPARSE]['times']['neuro']['median_ms']:.2f}",
                *cells,
                f"{alone[SPARSE]['dense_over']['neuro']['median']:.1f}",
                f"{min(each['dense_over']['neuro']['median'] for each in points):.2f}",
                "never faster" if crossing is None else f"{100 * crossing:.0f} %",
                f"{100 * layer['expected_crossing']:.0f} %",
            )
        )
    header = (
        "synapse",
        "dense (ms)",
        "neuro at 2 % (ms)",
        "dense / neuro at 0.1 %",
        "at 2 %",
        "at 10 %",
        "at 2 %, 1 thread",
        "at worst",
        "events slower from",
        "dense chosen from",
    )
    return "\n".join(
        [
            "#### Synapses driven by spike events",
            "",
            f"![Speed over density](images/{Path(file).stem}.png)",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Medians of "
            f"{record['rounds']} interleaved calls in one process, more of quick layers, float32; "
            "finding the events and transposing the weight are part of every call. Above the "
            "density chosen by the rule of `neuro doctor --kernels`, the dense product serves.",
            "",
        ]
    )
