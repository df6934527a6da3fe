"""What every run can be asked, whatever it trains: seed, device, checkpoints, figures."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen table of settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RunConfig(Section, ABC):
    """Configuration of one run; the same config and machine give the same weights."""

    epochs: int = Field(default=20, ge=1, description="passes over the training samples")
    batch_size: int = Field(default=32, ge=1, description="samples of one batch")
    evaluation_batch_size: int = Field(
        default=32, ge=1, description="samples at once during evaluation; bounds its memory"
    )
    lr: float = Field(default=2e-3, gt=0, description="learning rate at the start")
    gradient_clip: float | None = Field(
        default=None, gt=0, description="largest norm of the whole gradient; null for no limit"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="origin of every random number of the run"
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto (a GPU if there is one), cpu, cuda or cuda:N",
    )
    deterministic: bool = Field(
        default=True,
        description="only algorithms that give the same bits each time; slower on a GPU",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads; null leaves torch's own choice"
    )
    checkpoint_every_seconds: float | None = Field(
        default=120.0,
        gt=0,
        description="save within an epoch after this long; null for epoch ends only",
    )
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, description="save within an epoch after this many batches"
    )
    keep_every_epochs: int | None = Field(
        default=None, ge=1, description="also keep a checkpoint of every so many epochs"
    )
    log_every_steps: int = Field(
        default=50, ge=1, description="batches between lines of step metrics"
    )
    tensorboard: bool = Field(default=True, description="write TensorBoard event files")
    plots: bool = Field(default=True, description="draw learning curve and other figures as PNG")

    @property
    @abstractmethod
    def method_name(self) -> str:
        """What trains, by name: a learning rule, or a method of graph reasoning."""

    @property
    @abstractmethod
    def dataset_name(self) -> str:
        """What is learnt from, by name."""

    @property
    @abstractmethod
    def model_name(self) -> str:
        """What is trained, by name."""

    @classmethod
    def keys(cls) -> list[str]:
        """Return the keys of the table, those of its own kind of run first."""
        shared = RunConfig.model_fields
        return [*(key for key in cls.model_fields if key not in shared), *shared]

    def to_json(self) -> dict[str, Any]:
        """Return every setting as plain JSON values; the class reads them back."""
        values = self.model_dump(mode="json")
        return {key: values[key] for key in self.keys()}

    def training_settings(self) -> dict[str, Any]:
        """Return the settings that decide the weights, without those that only observe."""
        return _training_settings(self.to_json())

    def fingerprint(self) -> str:
        """Return that of :meth:`to_json`: equal for runs that end alike."""
        return fingerprint_of(self.to_json())


def fingerprint_of(record: Mapping[str, Any]) -> str:
    """Return a SHA-256 of the settings in a ``config.json`` that decide the weights.

    Of what is written, not of what it means today: an option that a later version adds leaves the
    fingerprints of earlier runs as they are.
    """
    text = json.dumps(_training_settings(record), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _training_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in OBSERVING}


OBSERVING = frozenset(
    {
        "checkpoint_every_seconds",
        "checkpoint_every_steps",
        "keep_every_epochs",
        "log_every_steps",
        "tensorboard",
        "plots",
    }
)
"""Settings that leave the weights alone, and may change when a run is resumed."""
