"""A run leaves as a folder of files that chips and other tools read."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.errors import UsageError, nearest
from neuro.export.finetune import finetune
from neuro.export.folder import (
    FORMS,
    NET,
    NIR,
    Folder,
    Form,
    Samples,
    check_place,
    write_samples,
)
from neuro.export.run import (
    check_count,
    compare,
    first_test_samples,
    load_classifier,
    quantise_session,
)
from neuro.hardware.integer_graph import write_graph
from neuro.hardware.lava.netx_rules import BIAS_EXP as BIAS_EXPONENT
from neuro.hardware.messages import encode_inputs
from neuro.hardware.place import Placement, place
from neuro.hardware.targets import Target, target_named
from neuro.training.classification import ClassificationSession


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
        UsageError: what the chip or the format cannot express, or cannot hold, by name; or the
            folder is there already.
        CheckpointError: the folder is no run, or its checkpoint is missing or damaged.
    """
    target = _checked(options)
    check_place(folder)
    session = load_classifier(
        run, checkpoint=options.checkpoint, data_dir=options.data_dir, download=options.download
    )
    if not _takes_soft_reset(options, target):
        _require_hard_reset(session, run, options)
    with Folder(folder) as made:
        made.record |= {
            "to": options.to,
            "run": str(run),
            "method": session.config.method_name,
            "dataset": session.dataset.name,
            "model": session.config.model_name,
            "checkpoint": options.checkpoint,
        }
        placement = None
        if target is None:
            made.record |= _write_nir(session, made.path, options)
        else:
            found, placement = _write_integers(session, made.path, target, options, note)
            made.record |= found
    return Report(folder, made.record, placement)


def _checked(options: ExportOptions) -> Target | None:
    """Return the chip, None for NIR, once the options were found possible."""
    if options.to not in FORMS:
        raise UsageError(
            f"no export to {options.to!r}; there are {', '.join(FORMS)}."
            f"{nearest(options.to, FORMS)}"
        )
    for name, number, least in (
        ("--chips", 1 if options.chips is None else options.chips, 1),
        ("--calibrate", options.calibrate, 1),
        ("--samples", options.samples, 1),
        ("--accuracy", options.accuracy or 0, 0),
        ("--finetune", options.finetune, 0),
    ):
        if number < least:
            raise UsageError(f"{name} must be at least {least}, got {number}.")
    if options.to == "nir":
        from neuro.hardware.nir.dialects import dialect

        dialect(options.dialect)
        if options.finetune:
            raise UsageError("--finetune trains whole numbers; a NIR graph has real ones.")
        return None
    target = target_named(options.profile)
    target = replace(target, weight_bits=options.weight_bits)
    if options.to == "netx":
        target = replace(target, bias_exponent=BIAS_EXPONENT)
    if options.to in ("lava", "netx") and target.microcode:
        raise UsageError(
            f"{target.name} is for neurons that Lava does not have: --to loihi, or --profile "
            f"{target.chip}."
        )
    return target


def _takes_soft_reset(options: ExportOptions, target: Target | None) -> bool:
    if target is not None:
        return target.microcode
    from neuro.hardware.nir.dialects import dialect

    return dialect(options.dialect).soft_reset


def _require_hard_reset(session: ClassificationSession, run: Path, options: ExportOptions) -> None:
    """Refuse spikes that subtract the threshold, with the command that trains others."""
    layers = session.network.neuron_nodes.items()
    soft = [name for name, layer in layers if layer.neuron.reset_mode == "soft"]
    if not soft:
        return
    nir = options.to == "nir"
    config = shlex.quote(str(run / "config.json"))
    raise UsageError(
        f"{soft[0]} of {run} subtracts its threshold at a spike; "
        + ("NIR's neurons are" if nir else f"those of {options.profile} are")
        + f" set to zero. Train such ones: neuro train --config {config} --set "
        "'model.reset=\"hard\"'"
        + ("." if options.to != "loihi" else ", or take --profile loihi2-microcode.")
    )


def _write_integers(
    session: ClassificationSession,
    path: Path,
    target: Target,
    options: ExportOptions,
    note: Callable[[str], None],
) -> tuple[dict[str, Any], Placement]:
    if options.accuracy:  # known now, needed last
        check_count("--accuracy", options.accuracy, len(session.dataset.test), "test")
    real = first_test_samples(session, options.samples)
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
    placement = place(graph, target.profile, chips=options.chips)
    messages = encode_inputs(graph, real.inputs)
    write_graph(graph, path)
    (path / "placement.json").write_text(json.dumps(placement.to_dict(), indent=1) + "\n")
    write_samples(Samples(messages, real.targets), path)
    if options.to == "netx":
        from neuro.hardware.lava.netx import write_net

        write_net(graph, path / NET)
    elif options.to == "lava":
        from neuro.hardware.lava.run import write_job

        write_job(graph, messages, path / "lava", chip=target.chip)
    record: dict[str, Any] = {
        "profile": target.name,
        "weight_bits": target.weight_bits,
        "steps": graph.steps,
        "output": graph.output,
        "layers": [asdict(layer) for layer in quantised.layers],
        "placement": in_short(placement),
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


def in_short(placement: Placement) -> dict[str, Any]:
    """Return a placement without its cores and routes, which placement.json has."""
    whole = placement.to_dict()
    loads = [core.load for core in placement.cores]
    return {name: each for name, each in whole.items() if name not in ("cores", "routes")} | {
        "neurons": sum(load.neurons for load in loads),
        "synapses": sum(load.synapses for load in loads),
    }


def _write_nir(
    session: ClassificationSession, path: Path, options: ExportOptions
) -> dict[str, Any]:
    from neuro.hardware.nir import to_nir, write_nir

    samples = first_test_samples(session, options.samples)
    graph = to_nir(session.network, target=options.dialect, seed=session.config.seed)
    write_nir(graph, path / NIR)
    inputs = {name: array.astype(np.float32) for name, array in samples.inputs.items()}
    write_samples(Samples(inputs, samples.targets), path)
    return {"dialect": options.dialect, "nodes": len(graph.nodes), "edges": len(graph.edges)}
