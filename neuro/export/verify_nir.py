"""Proof of a NIR export: its test samples through the readers that take such a graph."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro.errors import DataError, NeuroError, UsageError, nearest
from neuro.export.folder import NIR, SAMPLES, Export
from neuro.export.readers import HOW, READERS, Readers, find_readers

if TYPE_CHECKING:
    from neuro.hardware.nir.conformance import Row


class ReadersMissingError(NeuroError):
    """A reader of NIR that is needed is not installed."""


@dataclass(frozen=True)
class NirProof:
    """What readers made of a NIR graph.

    Attributes:
        samples: that were run.
        steps: of each.
        rows: by reader; ``exact`` where it did what this package does.
    """

    samples: int
    steps: int
    rows: tuple["Row", ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Readers that did something else, or nothing."""
        return tuple(row.reader for row in self.rows if row.verdict != "exact")

    @property
    def mismatches(self) -> int:
        """Readers that did something else, or nothing."""
        return len(self.wrong)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        engines = [
            {("name" if k == "reader" else k): v for k, v in asdict(row).items()}
            for row in self.rows
        ]
        return {
            "samples": self.samples,
            "steps": self.steps,
            "mismatches": self.mismatches,
            "engines": engines,
            "layers": [],
        }


def verify_nir(
    export: Export,
    *,
    readers: Collection[str] | None = None,
    samples: int | None = None,
    python: Path | str | None = None,
    timeout: float = 120.0,
    note: Callable[[str], None] = print,
) -> NirProof:
    """Run test samples of a NIR export in the readers it is for.

    Args:
        export: from :func:`neuro.export.folder.read_export`.
        readers: which; None for the one whose dialect it is written in, and of a generic graph for
            all that are installed and do not, by their dialect, get such a graph wrong.
        samples: the first so many; None for all it holds.
        python: interpreter that has the readers.
        timeout: seconds that each reader may take.
        note: told what is being done.

    Raises:
        UsageError: a reader that there is not, or more samples than the export holds.
        ReadersMissingError: a reader that was asked for is not installed, or none is.
        DataError: the graph cannot be read.
    """
    for name in readers or ():
        if name not in READERS:
            raise UsageError(
                f"no NIR reader {name!r}; there are {', '.join(READERS)}.{nearest(name, READERS)}"
            )
    from neuro.hardware.nir.conformance import conformance

    held = export.samples().first(samples).inputs
    if len(held) != 1:
        raise DataError(f"{export.folder / SAMPLES}: {len(held)} inputs; expected one.")
    (inputs,) = held.values()
    found = find_readers(python)
    asked = _suitable(export, found, note) if readers is None else list(readers)
    lacking = [name for name in asked if found.versions[name] is None]
    if lacking:
        raise ReadersMissingError(
            f"{', '.join(lacking)}: not installed in {found.path}, chosen {found.chosen_by}. {HOW}"
        )
    note(f"Running {inputs.shape[1]} samples in {', '.join(asked)}.")
    rows = conformance(
        export.folder / NIR,
        np.moveaxis(inputs, 1, 0),
        readers=asked,
        python=str(found.path),
        timeout=timeout,
    )
    return NirProof(int(inputs.shape[1]), len(inputs), tuple(rows))


def _suitable(export: Export, found: Readers, note: Callable[[str], None]) -> list[str]:
    """Return the readers that an export is for."""
    dialect = str(export.manifest["dialect"])
    if dialect != "generic":
        return [dialect]
    from neuro.hardware.nir import convert, read_nir

    graph = read_nir(export.folder / NIR)
    suitable = []
    for name in READERS:
        try:
            convert(graph, name)
        except UsageError as error:
            note(f"Left out: {error}")
            continue
        suitable.append(name)
    installed = [name for name in suitable if found.versions[name] is not None]
    absent = [name for name in suitable if name not in installed]
    if absent and installed:
        note(f"Left out: {', '.join(absent)}, not installed. {HOW}")
    if not suitable:
        raise UsageError(f"{export.folder}: no reader takes such a graph; name one by --engines.")
    return installed or suitable
