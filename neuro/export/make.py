"""A run leaves as a folder of files that chips and other tools read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuro.errors import UsageError
from neuro.export.finetune import finetune
from neuro.export.folder import Folder, Form, Samples, write_samples
from neuro.export.run import compare, load_classifier, over_time, quantise_session
from neuro.hardware import load_profile
from neuro.hardware.integer_graph import write_graph
from neuro.hardware.lava.netx_rules import BIAS_EXP as BIAS_EXPONENT
from neuro.hardware.messages import encode_inputs
from neuro.hardware.place import Placement, place
from neuro.hardware.targets import target_named
from neuro.layers import INPUT
from neuro.training.classification import ClassificationSession
from neuro.training.seeds import generator_for


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a run is exported.

    Attributes:
        to: ``loihi`` for the integer graph and its placement; ``lava`` with a job that Lava runs;
            ``netx`` with a ``.net`` file; ``nir`` for a NIR graph of real numbers.
        profile: the chip; not for ``nir``.
        chips: it may take; None for as many as needed.
        weight_bits: of a weight, its sign included.
        calibrate: training samples to choose scales by.
        finetune: epochs of training in whole numbers after that; 0 for none.
        finetune_lr: learning rate of these at the start; None for a tenth of the run's.
        samples: test samples to keep, for the proof.
        accuracy: test samples to compare accuracies on; None for all, 0 for none.
        checkpoint: of the run.
        dialect: reader that a NIR graph is written for.
        data_dir: where the data lie; None for where the run found them.
        download: whether missing data may be downloaded.
    """

    to: Form = "loihi"
    profile: str = "loihi2"
    chips: int | None = 1
    weight_bits: int = 8
    calibrate: int = 256
    finetune: int = 0
    finetune_lr: float | None = None
    samples: int = 20
    accuracy: int | None = None
    checkpoint: str = "last"
    dialect: str = "generic"
    data_dir: Path | None = None
    download: bool = True


@dataclass(frozen=True)
class Report:
    """What came of an export.

    Attributes:
        folder: where it lies.
        record: what its manifest says.
        placement: on the chip; None for NIR.
    """

    folder: Path
    record: Mapping[str, Any]
    placement: Placement | None = field(default=None)


def export_run(
    run: Path, folder: Path, options: ExportOptions, *, note: Callable[[str], None] = print
) -> Report:
    """Export a trained classifier.

    Args:
        run: folder of the run.
        folder: of the export, not there yet.
        options: how.
        note: told what is being done.

    Raises:
        UsageError: what the chip or the format cannot express, or cannot hold, by name.
        CheckpointError: the folder is no run, or its checkpoint is missing or damaged.
    """
    for name, number, least in (
        ("--calibrate", options.calibrate, 1),
        ("--samples", options.samples, 1),
        ("--accuracy", options.accuracy or 0, 0),
        ("--finetune", options.finetune, 0),
    ):
        if number < least:
            raise UsageError(f"{name} must be >= {least}, got {number}.")
    if options.to == "nir" and options.finetune:
        raise UsageError("--finetune trains whole numbers; a NIR graph has real ones.")
    with Folder(folder) as made:
        session = load_classifier(
            run, checkpoint=options.checkpoint, data_dir=options.data_dir, download=options.download
        )
        made.record |= {
            "to": options.to,
            "run": str(run),
            "method": session.config.method_name,
            "dataset": session.dataset.name,
            "model": session.config.model_name,
            "checkpoint": options.checkpoint,
        }
        placement = None
        if options.to == "nir":
            made.record |= _write_nir(session, made.path, options)
        else:
            found, placement = _write_integers(session, made.path, options, note)
            made.record |= found
    return Report(folder, made.record, placement)


def _write_integers(
    session: ClassificationSession, path: Path, options: ExportOptions, note: Callable[[str], None]
) -> tuple[dict[str, Any], Placement]:
    target = target_named(options.profile)
    target = replace(target, weight_bits=options.weight_bits)
    if options.to == "netx":
        target = replace(target, bias_exponent=BIAS_EXPONENT)
    note(f"Quantising for {target.name} on {options.calibrate} training samples.")
    quantised, tuned = quantise_session(session, target, samples=options.calibrate), None
    calibrated = quantised.graph
    if options.finetune:
        tuned = finetune(
            session,
            quantised,
            target,
            epochs=options.finetune,
            lr=options.finetune_lr,
            samples=options.calibrate,
            note=note,
        )
        quantised = tuned.quantised
    graph = quantised.graph
    steps, targets = _test_samples(session, options.samples)
    messages = encode_inputs(graph, {INPUT: steps})
    placement = place(graph, load_profile(target.chip), chips=options.chips)
    write_graph(graph, path)
    (path / "placement.json").write_text(json.dumps(placement.to_dict(), indent=1) + "\n")
    samples = Samples(messages, targets)
    write_samples(samples, path)
    if options.to == "netx":
        from neuro.hardware.lava.netx import write_net

        write_net(graph, path / "network.net")
    elif options.to == "lava":
        from neuro.hardware.lava.run import write_job

        write_job(graph, messages, path / "lava", chip=target.chip)
    record: dict[str, Any] = {
        "profile": target.name,
        "weight_bits": target.weight_bits,
        "steps": graph.steps,
        "output": graph.output,
        "layers": [asdict(layer) for layer in quantised.layers],
        "placement": dict(placement.summary()),
    }
    if tuned is not None:
        record["finetuning"] = tuned.record()
    if options.accuracy != 0:
        note("Comparing accuracies on the test set.")
        comparison = compare(session, graph, samples=options.accuracy)
        record["comparison"] = asdict(comparison)
        if tuned is not None:
            before = compare(session, calibrated, samples=options.accuracy)
            record["finetuning"]["calibrated_accuracy"] = before.integer_accuracy
    return record, placement


def _write_nir(
    session: ClassificationSession, path: Path, options: ExportOptions
) -> dict[str, Any]:
    from neuro.hardware.nir import to_nir, write_nir

    graph = to_nir(session.network, target=options.dialect, seed=session.config.seed)
    write_nir(graph, path / "network.nir")
    steps, targets = _test_samples(session, options.samples)
    write_samples(Samples({INPUT: steps.astype(np.float32)}, targets), path)
    return {"dialect": options.dialect, "nodes": len(graph.nodes), "edges": len(graph.edges)}


@torch.no_grad()
def _test_samples(session: ClassificationSession, count: int) -> tuple[Any, Any]:
    """Return the first test samples ``[T, B, *shape]``, encoded as ``neuro evaluate`` does."""
    split, feeder = session.dataset.test, session.feeder
    inputs, targets = feeder.take(split, torch.arange(len(split))[:count])
    generator = generator_for(session.config.seed, "evaluate", 0, device=feeder.device)
    steps = list(feeder.over_time(inputs, generator))
    return over_time(steps), targets.cpu().numpy().astype(np.int64)
