"""``neuro export``: a trained run as files that chips and other tools read."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neuro.cli.output import print_json, print_table

if TYPE_CHECKING:
    from neuro.export.make import Report


def export(
    run: Path,
    /,
    *,
    to: Literal["loihi", "lava", "netx", "nir"] = "loihi",
    profile: str = "loihi2",
    output: Path | None = None,
    chips: int = 1,
    weight_bits: int = 8,
    calibrate: int = 256,
    finetune: int = 0,
    finetune_lr: float | None = None,
    samples: int = 20,
    accuracy: int | None = None,
    checkpoint: str = "last",
    dialect: str = "generic",
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
        The chip: loihi1, loihi2, or loihi2-microcode for neurons that Lava does not have.
    output
        Folder of the export; default RUN/export-TO-PROFILE.
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
    checkpoint
        last, best, or another that is there.
    dialect
        The reader that a NIR graph is written for: generic, norse, snntorch, spikingjelly, sinabs.
    data_dir
        Folder with the data; default where the run found them.
    no_download
        Fail where data would have to be downloaded.
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.export.make import ExportOptions, export_run

    options = ExportOptions(
        to=to,
        profile=profile,
        chips=chips,
        weight_bits=weight_bits,
        calibrate=calibrate,
        finetune=finetune,
        finetune_lr=finetune_lr,
        samples=samples,
        accuracy=accuracy,
        checkpoint=checkpoint,
        dialect=dialect,
        data_dir=data_dir,
        download=not no_download,
    )
    kind = f"nir-{dialect}" if to == "nir" else f"{to}-{profile}"
    folder = output or run / f"export-{kind}"
    report = export_run(run, folder, options, note=lambda text: print(text, file=sys.stderr))
    if json:
        print_json({"folder": str(folder), **report.record})
    else:
        _print(report)


def _print(report: "Report") -> None:
    record = report.record
    print(f"{record['method']} on {record['dataset']} with {record['model']}: {report.folder}")
    if report.placement is None:
        print(
            f"  NIR graph for {record['dialect']}: {record['nodes']} nodes, {record['edges']} edges"
        )
        return
    rows: list[tuple[str, str]] = []
    comparison: dict[str, Any] | None = record.get("comparison")
    if comparison is not None:
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
    header = (
        "layer",
        "weights cut",
        "weight error",
        "largest input",
        "worst",
        "|u| of 2^23",
        "|v|",
    )
    print_table(
        header,
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
    print(f"\nneuro verify {report.folder} proves it in Lava.")


def _calibrated(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    tuned = record.get("finetuning")
    return [("before fine-tuning", f"{tuned['calibrated_accuracy']:.2%}")] if tuned else []
