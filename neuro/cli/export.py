"""``neuro export``: a trained run as files that chips and other tools read."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neuro.cli.output import describe, print_json, print_table
from neuro.errors import UsageError

if TYPE_CHECKING:
    from neuro.export.make import ExportOptions, Report


def export(
    run: Path,
    /,
    *,
    to: Literal["loihi", "lava", "netx", "nir"] = "loihi",
    profile: str | None = None,
    output: Path | None = None,
    chips: int = 1,
    weight_bits: int = 8,
    calibrate: int = 256,
    finetune: int = 0,
    finetune_lr: float | None = None,
    samples: int = 20,
    accuracy: int | None = None,
    head: str | None = None,
    relation: str | None = None,
    inverse: bool = False,
    checkpoint: str = "last",
    dialect: str | None = None,
    data_dir: Path | None = None,
    no_download: bool = False,
    json: bool = False,
) -> None:
    """Export a trained network to neuromorphic hardware, with test samples to prove it.

    Parameters
    ----------
    run
        Folder of the run.
    to
        loihi: the network in integers, placed on the chip's cores. lava: that, and a job that
        Intel's Lava runs. netx: that, and a .net file. nir: a NIR graph of real numbers.
    profile
        The chip: loihi1, loihi2, or loihi2-microcode for neurons that Lava does not have. Default
        loihi2.
    output
        Folder of the export; default RUN/export-TO-PROFILE, or RUN/export-nir-DIALECT.
    chips
        Chips that it may take.
    weight_bits
        Bits of a weight, its sign included, 2 to 8; fewer take less memory of a core.
    calibrate
        Training samples to choose the scales of weights by.
    finetune
        Epochs of training in whole numbers, by the rule of the run, after that.
    finetune_lr
        Learning rate of these at the start; default a tenth of the run's.
    samples
        Test samples to keep for `neuro verify`.
    accuracy
        Test samples to compare accuracies on; default all, 0 for none.
    head
        Of a run of grsnn: the entity that is asked about.
    relation
        Of a run of grsnn: the relation that is asked for.
    inverse
        Ask for the heads of facts that end in --head.
    checkpoint
        last, best, or another that is there.
    dialect
        The reader that a NIR graph is written for: norse, snntorch, spikingjelly, sinabs. Default
        generic.
    data_dir
        Folder with the data; default where the run found them.
    no_download
        Fail where data would have to be downloaded.
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.export.make import ExportOptions
    from neuro.training.interrupts import StopSignals

    if to == "nir" and profile is not None:
        raise UsageError("--profile names a chip, which a NIR graph is not made for; leave it out.")
    if to != "nir" and dialect is not None:
        raise UsageError(f"--dialect is of NIR graphs; --to is {to}.")
    options = ExportOptions(
        to=to,
        profile=profile or "loihi2",
        chips=chips,
        weight_bits=weight_bits,
        calibrate=calibrate,
        finetune=finetune,
        finetune_lr=finetune_lr,
        samples=samples,
        accuracy=accuracy,
        checkpoint=checkpoint,
        dialect=dialect or "generic",
        data_dir=data_dir,
        download=not no_download,
    )
    kind = f"{to}-{options.dialect if to == 'nir' else options.profile}"
    if head is not None and relation is not None:
        kind += "".join(f"-{name.replace('/', '_')}" for name in (head, relation))
    folder = output or run / f"export-{kind}"

    with StopSignals():  # a stop is an error, which leaves nothing half written
        report = _made(run, folder, options, head=head, relation=relation, inverse=inverse)
    if json:
        print_json({"folder": str(folder), **report.record, "schema": 1})
    else:
        _print(report)


def _made(
    run: Path,
    folder: Path,
    options: "ExportOptions",
    *,
    head: str | None,
    relation: str | None,
    inverse: bool,
) -> "Report":
    def note(text: str) -> None:
        print(text, file=sys.stderr)

    if head is None and relation is None:
        from neuro.export.make import export_run

        return export_run(run, folder, options, note=note)
    if head is None or relation is None:
        raise UsageError("A question has both --head and --relation.")
    from neuro.export.query import export_query

    return export_query(
        run, folder, options, head=head, relation=relation, inverse=inverse, note=note
    )


def _print(report: "Report") -> None:
    record = report.record
    told = describe(record["method"], record["dataset"], record["model"])
    print(f"{told}: {report.folder}")
    if report.placement is None:
        print(
            f"  NIR graph for {record['dialect']}: {record['nodes']} nodes, {record['edges']} edges"
        )
        print(f"\nneuro verify {report.folder} runs it in the readers that take it.")
        return
    rows: list[tuple[str, str]] = []
    comparison: dict[str, Any] | None = record.get("comparison")
    if "query" in record:
        rows += _of_query(comparison)
    elif comparison is not None:
        rows += [
            ("float accuracy", f"{comparison['float_accuracy']:.2%} of {comparison['samples']:,}"),
            *_calibrated(record),
            ("integer accuracy", f"{comparison['integer_accuracy']:.2%}"),
            ("same answer", f"{comparison['agreement']:.2%}"),
        ]
    rows += report.placement.summary()
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name.ljust(width)}  {value}")
    print()
    if "query" in record:
        print("\n".join(record["answers"]))
    else:
        _print_layers(record)
    print(f"\nneuro verify {report.folder} proves it, register by register.")


def _of_query(comparison: dict[str, Any] | None) -> list[tuple[str, str]]:
    if comparison is None:
        return [("test facts", "none of this relation")]
    return [
        ("test facts", f"{comparison['facts']:,} of this relation, asked both ways"),
        ("float MRR", f"{comparison['mrr']:.4f}"),
        ("chip MRR", f"{comparison['chip_mrr']:.4f}"),
        ("same rank", f"{comparison['same_rank']:.2%}"),
        ("same spikes", f"{comparison['agreement']:.2%} of neurons and steps"),
    ]


def _print_layers(record: Mapping[str, Any]) -> None:
    print_table(
        ("layer", "weights cut", "weight error", "largest input", "worst", "|u| of 2^23", "|v|"),
        [
            (
                layer["name"],
                f"{layer['clipped_weights']:.2%}",
                f"{layer['weight_error']:.2%}",
                layer["largest_input"],
                f"{layer['worst_input']}{' (may overflow)' if layer['may_overflow'] else ''}",
                f"{layer['largest_u'] / 2**23:.1%}",
                f"{layer['largest_v'] / 2**23:.1%}",
            )
            for layer in record["layers"]
        ],
    )


def _calibrated(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    tuned = record.get("finetuning")
    return [("before fine-tuning", f"{tuned['calibrated_accuracy']:.2%}")] if tuned else []
