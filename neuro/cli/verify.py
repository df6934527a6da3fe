"""``neuro verify``: proof that an export computes what it should."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neuro.cli.output import print_json, print_table
from neuro.errors import NeuroError, UsageError

if TYPE_CHECKING:
    from neuro.export.folder import Export


class MismatchError(NeuroError):
    """Engines do not agree."""


def verify(
    folder: Path,
    /,
    *,
    samples: int | None = None,
    engines: str | None = None,
    lava_python: Path | None = None,
    timeout: float = 120.0,
    json: bool = False,
) -> None:
    """Run an export's test samples in the simulator and in Lava; compare u, v and spikes of every
    neuron and step. A NIR graph runs in every reader that is installed. Fails on any mismatch.

    Parameters
    ----------
    folder
        Folder of the export.
    samples
        The first so many of the samples it holds; default all.
    engines
        Of integers: reference, lava, netx, separated by commas; default all it has files for. Of
        NIR: norse, snntorch, spikingjelly, sinabs; default all.
    lava_python
        Python that has Lava, or the readers of NIR; default those that `make lava` and
        `make nir-readers` make.
    timeout
        Seconds that each sample may take in Lava, or each reader.
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.export.folder import read_export

    export = read_export(folder)
    names = None if engines is None else [name.strip() for name in engines.split(",")]
    if export.form == "nir":
        _verify_nir(export, samples, names, lava_python, timeout, json)
        return
    from neuro.export.verify import verify as prove

    proof = prove(
        export,
        engines=names,
        samples=samples,
        lava_python=lava_python,
        timeout=timeout,
        note=lambda text: print(text, file=sys.stderr),
    )
    if json:
        print_json(proof.to_json())
    else:
        for name, text in proof.engines.items():
            print(f"{name}: {text}")
        print()
        others = [name for name in proof.engines if name != "simulator"]
        print_table(
            (
                "layer",
                "neurons",
                "spikes",
                *(f"{name}: spikes, u, v that differ" for name in others),
            ),
            [
                (
                    layer.name,
                    f"{layer.neurons:,}",
                    f"{layer.spikes:,}",
                    *(", ".join(map(str, layer.mismatches[name].values())) for name in others),
                )
                for layer in proof.layers
            ],
        )
        print(f"\n{proof.mismatches} mismatches in {proof.samples} samples of {proof.steps} steps.")
    if proof.mismatches:
        raise MismatchError(f"{folder}: engines disagree in {proof.mismatches} numbers.")


def _readers_python() -> Path:
    """Return the Python that has readers of NIR: the one named, or as ``make`` makes it."""
    named = os.environ.get("NEURO_NIR_READERS")
    made = Path(sys.prefix).with_name(f"{Path(sys.prefix).name}-readers") / "bin" / "python"
    return Path(named) if named else made if made.exists() else Path(sys.executable)


def _verify_nir(
    export: "Export",
    samples: int | None,
    readers: list[str] | None,
    python: Path | None,
    timeout: float,
    json: bool,
) -> None:
    import numpy as np

    from neuro.hardware.nir.conformance import READERS, conformance, table

    held = export.samples()
    if samples is not None and not 1 <= samples <= len(held):
        raise UsageError(f"--samples {samples}: the export holds 1 to {len(held)}.")
    (inputs,) = held.first(samples).inputs.values()
    rows = conformance(
        export.folder / "network.nir",
        np.moveaxis(inputs, 1, 0),
        readers=READERS if readers is None else tuple(readers),
        python=str(python or _readers_python()),
        timeout=timeout,
    )
    different = [row.reader for row in rows if row.verdict == "differs"]
    if json:
        engines = [
            {
                "name": row.reader,
                "version": row.version,
                "verdict": row.verdict,
                "agreement": row.agreement,
                "detail": row.detail,
            }
            for row in rows
        ]
        print_json(
            {
                "samples": int(inputs.shape[1]),
                "mismatches": len(different),
                "engines": engines,
                "layers": [],
            }
        )
    else:
        print(table(rows))
    if different:
        raise MismatchError(f"{export.folder}: {', '.join(different)} read it otherwise.")
