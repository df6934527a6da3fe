"""``neuro verify``: proof that an export computes what it should."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neuro.cli.output import print_json, print_table
from neuro.errors import NeuroError

if TYPE_CHECKING:
    from neuro.export.verify import Proof
    from neuro.export.verify_nir import NirProof


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
    neuron and step. A NIR graph runs in the readers it is for. Fails on any mismatch.

    Parameters
    ----------
    folder
        Folder of the export.
    samples
        The first so many of the samples it holds; default all.
    engines
        Of integers: reference, lava, netx, separated by commas; default all it has files for. Of
        NIR: norse, snntorch, spikingjelly, sinabs; default that of its dialect, and of a generic
        graph all that are installed and take it.
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
        from neuro.export.verify_nir import verify_nir

        read = verify_nir(
            export, readers=names, samples=samples, python=lava_python, timeout=timeout, note=_note
        )
        print_json({**read.to_json(), "schema": 1}) if json else _print_readers(read)
        if read.wrong:
            raise MismatchError(
                f"{folder}: not read as it is meant by {', '.join(read.wrong)}. `neuro export "
                "--to nir --dialect NAME` writes what one reader takes."
            )
        return
    from neuro.export.verify import verify as prove

    proof = prove(
        export,
        engines=names,
        samples=samples,
        lava_python=lava_python,
        timeout=timeout,
        note=_note,
    )
    print_json({**proof.to_json(), "schema": 1}) if json else _print_registers(proof)
    if proof.mismatches:
        raise MismatchError(
            f"{folder}: {', '.join(proof.wrong)} differs from the simulator in "
            f"{proof.mismatches:,} numbers."
        )


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print_registers(proof: "Proof") -> None:
    for name, text in proof.engines.items():
        print(f"{name}: {text}")
    print()
    others = [name for name in proof.engines if name != "simulator"]
    print_table(
        ("layer", "neurons", "spikes", *(f"{name}: spikes, u, v that differ" for name in others)),
        [
            (
                layer.name,
                f"{layer.neurons:,}",
                f"{layer.spikes:,}",
                *(", ".join(f"{n:,}" for n in layer.mismatches[name].values()) for name in others),
            )
            for layer in proof.layers
        ],
    )
    print(f"\nmismatches: {proof.mismatches:,}; samples: {proof.samples}; steps: {proof.steps}")


def _print_readers(proof: "NirProof") -> None:
    from neuro.hardware.nir.conformance import table

    print(table(proof.rows))
    print(f"\nmismatches: {proof.mismatches}; samples: {proof.samples}; steps: {proof.steps}")
