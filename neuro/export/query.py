"""One question of a trained GRSNN leaves as a folder: its graph as delayed neurons on a chip."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.export.chip_grsnn import ChipGRSNN, best_fullness, compare
from neuro.export.folder import Folder, Samples, check_place, write_samples
from neuro.export.make import ExportOptions, Report, in_short
from neuro.export.reasoning import ReasoningGraph, reasoning_graph
from neuro.graph import best_tails, describe_answers, known_tails
from neuro.graph.grsnn import GRSNN
from neuro.hardware.constraints import ConstraintError
from neuro.hardware.integer_graph import write_graph
from neuro.hardware.place import Placement, place
from neuro.hardware.targets import Target, target_named
from neuro.kernels import RelationalGraph
from neuro.training import load_reasoner
from neuro.training.reasoning import ReasoningSession

LARGEST_BITS = 8
BEST = 5
"""Answers of the chip that the report names."""


def export_query(
    run: Path,
    folder: Path,
    options: ExportOptions,
    *,
    head: str,
    relation: str,
    inverse: bool = False,
    note: Callable[[str], None] = print,
) -> Report:
    """Export the question ``(head, relation, ?)`` of a trained GRSNN.

    The scales of weights are chosen by questions of that relation that were trained on; on as many
    of the test set the chip is compared with the network.

    Args:
        run: folder of the run.
        folder: of the export, not there yet.
        options: how; ``calibrate`` and ``accuracy`` count questions.
        head: by name.
        relation: by name.
        inverse: ask for heads instead.
        note: told what is being done.

    Raises:
        UsageError: another method, an unknown name, or what the chip cannot express or hold.
        CheckpointError: the folder is no run, or its checkpoint is missing or damaged.
    """
    if options.to in ("nir", "netx"):
        raise UsageError(
            f"--to {options.to} takes chains of layers, and a graph of entities is none; take "
            "--to loihi or --to lava."
        )
    if options.finetune or options.weight_bits != LARGEST_BITS:
        raise UsageError(
            "--finetune and --weight-bits are for classifiers: the spikes of a GRSNN are exported "
            "with weights of eight bits, as they were trained."
        )
    target = target_named(options.profile)
    check_place(folder)
    _, session = load_reasoner(run, checkpoint=options.checkpoint, data_dir=options.data_dir)
    model, names, graph = session.model, session.task.test_graph, session.test_graph.whole
    if not isinstance(model, GRSNN):
        raise UsageError(
            f"Run {run} trained {session.config.method_name}, which has no spikes: train grsnn."
        )
    asked = names.relation(relation) + (len(names.relations) if inverse else 0)
    source = names.entity(head)
    heads, relations = _questions(session, asked, source)
    note(f"Choosing the scale of weights by {min(len(heads), options.calibrate)} questions.")
    with Folder(folder) as made:
        chosen = slice(options.calibrate)
        fullness = best_fullness(model, graph, heads[chosen], relations[chosen])
        exported, placement = _placed(model, graph, asked, fullness, target, options.chips, note)
        integers = exported.at(source)
        write_graph(integers, made.path)
        (made.path / "placement.json").write_text(json.dumps(placement.to_dict(), indent=1) + "\n")
        write_samples(Samples({}, np.array([source], np.int64)), made.path)
        if options.to == "lava":
            from neuro.hardware.lava.run import write_job

            write_job(integers, {}, made.path / "lava", chip=target.chip)
        chip = ChipGRSNN(model, fullness=fullness, accumulator_bits=target.accumulator_bits)
        exclude = known_tails(names.facts, source, asked, relations=len(names.relations))
        answers = best_tails(chip, session.test_graph, source, asked, count=BEST, exclude=exclude)
        made.record |= {
            "to": options.to,
            "run": str(run),
            "method": session.config.method_name,
            "dataset": session.config.dataset_name,
            "model": session.config.model_name,
            "checkpoint": options.checkpoint,
            "profile": target.name,
            "query": {"head": head, "relation": relation, "inverse": inverse},
            "steps": integers.steps,
            "output": integers.output,
            "quantisation": asdict(exported.report),
            "answers": describe_answers(answers, names),
            "placement": in_short(placement),
        }
        if options.accuracy != 0:
            found = _comparison(session, chip, asked, options.accuracy)
            if found is not None:
                made.record["comparison"] = found
    return Report(folder, made.record, placement)


def _placed(
    model: GRSNN,
    graph: RelationalGraph,
    relation: int,
    fullness: float,
    target: Target,
    chips: int | None,
    note: Callable[[str], None],
) -> tuple[ReasoningGraph, Placement]:
    """Quantise and place; parallel edges are merged unless that takes more than there is."""
    merged = reasoning_graph(model, graph, relation, fullness=fullness)
    try:
        return merged, place(merged.graph, target.profile, chips=chips)
    except ConstraintError as error:
        note(f"Merging parallel edges: {error}")
    single = reasoning_graph(model, graph, relation, fullness=fullness, merge=False)
    return single, place(single.graph, target.profile, chips=chips)


def _questions(session: ReasoningSession, relation: int, head: int) -> tuple[Tensor, Tensor]:
    """Return heads and relations of training questions; the one asked, where there are none."""
    train, count = session.task.train, len(session.task.test_graph.relations)
    facts = train[train[:, 1] == relation % count]
    heads: Tensor = torch.unique(facts[:, 0 if relation < count else 2])
    # the entities of an inductive test set are others than those that were trained on
    if session.test_graph is not session.graph or not len(heads):
        heads = torch.tensor([head])
    return heads, torch.full_like(heads, relation)


def _comparison(
    session: ReasoningSession, chip: ChipGRSNN, relation: int, most: int | None
) -> dict[str, Any] | None:
    """Compare chip and network on test facts of a relation, if there are any."""
    task, count = session.task, len(session.task.test_graph.relations)
    facts = task.test[task.test[:, 1] == relation % count][:most]
    if not len(facts):
        return None
    known = session.answers_of(task.test_known, task.test_graph)
    found = compare(chip, session.test_graph.whole, facts, known, relations=count)
    mrr, chip_mrr = found.mrr
    return {
        "facts": len(facts),
        "mrr": mrr,
        "chip_mrr": chip_mrr,
        "same_rank": found.same_rank,
        "spikes": found.spikes,
        "chip_spikes": found.chip_spikes,
        "agreement": found.agreement,
        "overlap": found.overlap,
        "same_arrivals": found.arrivals,
        "extremes": chip.extremes._asdict(),
    }
