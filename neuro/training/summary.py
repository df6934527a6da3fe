"""What came out of a run: the object that ``--json`` prints and ``summary.json`` keeps."""

from dataclasses import dataclass
from typing import Any

from neuro.errors import CheckpointError

SCHEMA = 1


@dataclass(frozen=True)
class RunSummary:
    """The result of a run, or of evaluating one.

    Args:
        run: the run folder.
        method: the learning rule, or the method of graph reasoning.
        dataset: the data set, or the folder of a graph by name.
        model: the architecture; a method of graph reasoning is its own.
        metrics: numbers by name, see ``docs/json-output.md``; null where there is none.
        firing_rates: spikes per neuron and time step on the test set, by layer.
        seconds: wall-clock time, everything included.
        peak_memory_mb: in units of 2^20 bytes.
    """

    run: str
    method: str
    dataset: str
    model: str
    metrics: dict[str, float | int | None]
    firing_rates: dict[str, float]
    seconds: float
    peak_memory_mb: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values in a fixed order, with the version of the layout."""
        return {
            "run": self.run,
            "method": self.method,
            "dataset": self.dataset,
            "model": self.model,
            "metrics": self.metrics,
            "firing_rates": self.firing_rates,
            "seconds": round(self.seconds, 3),
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "schema": SCHEMA,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "RunSummary":
        """Undo :meth:`to_json`.

        Raises:
            CheckpointError: it is of another version.
        """
        values = dict(record)
        if values.pop("schema", None) != SCHEMA:
            raise CheckpointError(
                f"summary.json has schema {record.get('schema')}, this version reads {SCHEMA}."
            )
        return cls(**values)
