"""Answers and explanations by name: as lines for a terminal, and as JSON."""

from typing import Any

from neuro.graph.findings import Answer, Answers, Arrival, Explanation, Hop, Path, Query
from neuro.graph.triples import KnowledgeGraph


def describe_answers(answers: Answers, names: KnowledgeGraph) -> list[str]:
    """Return lines: the query, each answer with its score and arrival, and who stayed silent."""
    rows = [
        (f"{each.rank:,}", names.entities[each.node], f"{each.score:.4f}", _how(each))
        for each in answers.best
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [query_text(answers.query, names)]
    for rank, name, score, how in rows:
        line = f"{rank:>{widths[0] + 2}}  {name:<{widths[1]}}  {score:>{widths[2]}}  {how}"
        lines.append(line.rstrip())
    if not rows:
        lines.append("  No candidate is left.")
    if answers.silent:
        lines.append(
            f"No spike reached {answers.silent:,} of {answers.candidates:,} candidates within "
            f"{answers.steps} steps; they share one score."
        )
    return lines


def describe_paths(explanation: Explanation, names: KnowledgeGraph) -> list[str]:
    """Return lines: the answer with score and arrival, then each path, the most important first."""
    tail = names.entities[explanation.tail]
    arrival = explanation.arrival
    lines = [
        f"{query_text(explanation.query, names, explanation.tail)}  "
        f"score {explanation.score:.4f}, {arrival_text(arrival)}"
    ]
    if not arrival.fired:
        lines.append(
            f"No spike reached {tail} within {explanation.steps} steps: no path explains its score."
        )
    elif not explanation.paths:
        lines.append(
            f"No path of at most {explanation.longest} hops made a difference to the score of "
            f"{tail}."
        )
    for rank, path in enumerate(explanation.paths, 1):
        lines.append(
            f"{rank:>4}  importance {path.importance:+.3g}, {steps_text(path.duration)}:  "
            f"{path_text(path, names)}"
        )
    return lines


def to_json(found: Answers | Explanation, names: KnowledgeGraph) -> dict[str, Any]:
    """Return what was found as dicts, lists, texts and numbers.

    Entities and relations go by name, steps count from 0, and a neuron that never fired has null.
    """
    query = {
        "head": names.entities[found.query.head],
        "relation": names.relations[found.query.relation],
        "inverse": found.query.inverse,
    }
    if isinstance(found, Answers):
        return {
            "query": query,
            "steps": found.steps,
            "candidates": found.candidates,
            "silent": found.silent,
            "answers": [
                {
                    "entity": names.entities[each.node],
                    "score": each.score,
                    "rank": each.rank,
                    "ties": each.ties,
                    "arrival": None if each.arrival is None else _arrival_json(each.arrival),
                }
                for each in found.best
            ],
        }
    return {
        "query": query,
        "tail": names.entities[found.tail],
        "score": found.score,
        "arrival": _arrival_json(found.arrival),
        "steps": found.steps,
        "edges": found.edges,
        "longest": found.longest,
        "paths": [_path_json(path, names) for path in found.paths],
    }


def query_text(query: Query, names: KnowledgeGraph, answer: int | None = None) -> str:
    """Return ``head -relation-> ?``, or ``? -relation-> head``, or the fact with its answer."""
    known = names.entities[query.head]
    other = "?" if answer is None else names.entities[answer]
    head, tail = (other, known) if query.inverse else (known, other)
    return f"{head} -{names.relations[query.relation]}-> {tail}"


def arrival_text(arrival: Arrival) -> str:
    """Return ``spikes from step 2, median 3, 20 of 32 neurons``, or that there was none."""
    if not arrival.fired:
        return "no spike arrived"
    return (
        f"spikes from step {arrival.earliest}, median {arrival.median:g}, {arrival.fired} of "
        f"{len(arrival.first)} neurons"
    )


def path_text(path: Path, names: KnowledgeGraph) -> str:
    """Return ``a -r (2 steps)-> b <-s (1 step)- c``; an arrow points as the fact does."""
    text = names.entities[path.hops[0].source]
    for hop in path.hops:
        label = f"{names.relations[hop.relation]} ({steps_text(hop.duration)})"
        arrow = f"<-{label}-" if hop.inverse else f"-{label}->"
        text += f" {arrow} {names.entities[hop.destination]}"
    return text


def steps_text(duration: float) -> str:
    """Return ``2 steps``."""
    return f"{duration:g} step" + ("" if duration == 1 else "s")


def _how(answer: Answer) -> str:
    parts = [] if answer.arrival is None else [arrival_text(answer.arrival)]
    if answer.ties:
        others = "1 other" if answer.ties == 1 else f"{answer.ties:,} others"
        parts.append(f"tied with {others}")
    return "; ".join(parts)


def _arrival_json(arrival: Arrival) -> dict[str, Any]:
    return {
        "earliest": arrival.earliest,
        "median": arrival.median,
        "fired": arrival.fired,
        "first": list(arrival.first),
    }


def _path_json(path: Path, names: KnowledgeGraph) -> dict[str, Any]:
    return {
        "importance": path.importance,
        "total": path.total,
        "duration": path.duration,
        "hops": [_hop_json(hop, names) for hop in path.hops],
    }


def _hop_json(hop: Hop, names: KnowledgeGraph) -> dict[str, Any]:
    return {
        "source": names.entities[hop.source],
        "relation": names.relations[hop.relation],
        "inverse": hop.inverse,
        "destination": names.entities[hop.destination],
        "importance": hop.importance,
        "duration": hop.duration,
    }
