"""What the results come to, in a table and a few sentences for the README."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.graph import factors
from benchmarks.markdown import NONE, percent, table
from benchmarks.memory import growth_by_rule
from benchmarks.reasoning_tables import beside_each_other, learnt

Entry = tuple[dict[str, Any], str]
"""A result and the name of its file."""
Results = dict[str, list[Entry]]
RULES = ("bptt", "ottt", "opzo", "dfa", "dkp", "zo")


def highlights(found: Results) -> str:
    """Return them as Markdown; only what was measured is said."""
    parts = []
    if found.get("accuracy"):
        parts += [_accuracies(found["accuracy"]), ""]
    if reasoning := beside_each_other(found.get("reasoning", ())):
        parts += [reasoning, ""]
    sentences = [
        f"- {sentence}"
        for kind, say in SENTENCES.items()
        for record, _ in found.get(kind, ())
        for sentence in say(record)
    ]
    parts += [*sentences, ""] if sentences else []
    return "\n".join(parts) if parts else "Nothing has been measured yet.\n"


def _accuracies(entries: Sequence[Entry]) -> str:
    rows = []
    for record, _ in entries:
        rules = record["rules"]
        cells = [percent(rules[name].get("test_accuracy")) if name in rules else NONE
                 for name in RULES]  # fmt: skip
        rows.append((record["title"], *cells))
    return table(("test accuracy (%), mean ± std over seeds", *(f"`{name}`" for name in RULES)),
                 rows)  # fmt: skip


def _memory(record: dict[str, Any]) -> list[str]:
    growth = growth_by_rule(record)
    steps = sorted({row["timesteps"] for row in record["rows"]})
    said = [f"`{rule}` {growth[rule]:.2f} times" for rule in ("opzo", "bptt") if rule in growth]
    return [
        f"Memory of an update of {record['network']} from T = {steps[0]} to {steps[-1]} grows: "
        f"{', '.join(said)}."
    ]


def _layer(record: dict[str, Any]) -> list[str]:
    contenders = record["contenders"]
    said = [
        f"{name} {contenders[name]['forward_backward']['over_neuro']['median']:.1f} times"
        for name in ("SpikingJelly, torch.compile", "SpikingJelly", "snnTorch", "Norse", "Sinabs")
        if name in contenders
    ]
    ours = contenders["neuro"]["forward_backward"]["median_ms"]
    sizes = f"T = {record['timesteps']}, B = {record['batch_size']}, N = {record['neurons']}"
    beside = f"; {', '.join(said)} as long" if said else ""
    return [f"A LIF layer ({sizes}), forward and backward: {ours:.1f} ms{beside}."]


def _messages(record: dict[str, Any]) -> list[str]:
    found = [factors(task) for task in record["tasks"].values()]
    (slow, fast), (much, little) = ((min(each), max(each)) for each in zip(*found, strict=True))
    return [
        f"Delayed messages on knowledge graphs, {len(found)} tasks: {slow:,.0f} to {fast:,.0f} "
        f"times as fast as naive torch, with {much:,.0f} to {little:,.0f} times less memory."
    ]


def _ablation(record: dict[str, Any]) -> list[str]:
    """Say what every change of one setting did, those that noise may have done at the end."""
    points: dict[bool, list[str]] = {True: [], False: []}
    for name, found in record["differences"].items():
        points[found["beyond_noise"]].append(f"`{name}` {100 * found['mean']:+.1f}")
    if not any(points.values()):
        return []
    said = [
        f"{', '.join(points[beyond])} {text}"
        for beyond, text in ((True, "beyond noise"), (False, "within noise"))
        if points[beyond]
    ]
    base = record["rules"][record["baseline"]]["mrr_best_validation"]["mean"]
    seeds = min(found["n"] for found in record["differences"].values())
    return [
        f"{record['title']}, points of MRR from {base:.3f}, paired over {seeds} seeds: "
        f"{'; '.join(said)}."
    ]


def _ranking(record: dict[str, Any]) -> list[str]:
    return [
        f"The whole test set of {record['dataset']} ({record['triples']:,} triples, both sides, "
        f"among {record['nodes']:,} nodes) in {record['seconds']:.0f} s on {record['threads']} "
        "threads."
    ]


def _exports(record: dict[str, Any]) -> list[str]:
    rows = record["rows"]
    lost = max(row["float_accuracy"] - row["integer_accuracy"] for row in rows)
    wrong = sum(sum(row["proof"]["mismatches"].values()) for row in rows)
    samples = sum(row["proof"]["samples"] for row in rows)
    return [
        f"{len(rows)} trained networks as a chip's integers: at most {100 * max(lost, 0):.2f} "
        f"points lost; run again by the reference, Lava and netx on {samples} samples, {wrong} "
        "numbers differ."
    ]


def _energy(record: dict[str, Any]) -> list[str]:
    rows = [row for row in record["rows"] if row["seed"] == 0 and row["baselines"]]
    few, all_bits = ("ann-int8", "qnn"), ("ann-fp32",)
    said = [
        ("8-bit prices of arithmetic alone", _ratios(rows, "horowitz45-int8", few)),
        ("prices of memory, too (`lemaire45`)", _ratios(rows, "lemaire45", all_bits)),
    ]
    sentences = [f"at {prices}: {ratios}" for prices, ratios in said if ratios]
    if not sentences:
        return []
    return [
        "Estimated energy of a sample over that of the same architecture without spikes, "
        f"{'; '.join(sentences)}. Above 1 spikes take more."
    ]


def _ratios(rows: Sequence[dict[str, Any]], profile: str, names: Sequence[str]) -> str:
    told = []
    for row in rows:
        ratios = [
            f"{beside['ratio']['value']:.2g} ({baseline['name']})"
            for baseline in row["baselines"]
            for beside in baseline["profiles"]
            if baseline["name"].startswith(tuple(names))
            and beside["name"] == profile
            and beside["ratio"]
        ]
        if ratios:
            told.append(f"{row['network']} {', '.join(ratios)}")
    return "; ".join(told)


SENTENCES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "memory": _memory,
    "layers": _layer,
    "graph": _messages,
    "reasoning": learnt,
    "ablation": _ablation,
    "ranking": _ranking,
    "exports": _exports,
    "energy": _energy,
}
"""By kind of result, in the order of the list."""
