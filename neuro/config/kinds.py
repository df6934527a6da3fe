"""The kinds of runs: which table names what trains, and what may stand in each table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from neuro.config import presets
from neuro.config.base import RunConfig
from neuro.config.reason import DEFAULT_GRAPH, ReasonConfig
from neuro.config.train import SGD, Adam, AdamW, Schedule, TrainConfig
from neuro.encoding import ENCODINGS
from neuro.graph.methods import METHODS
from neuro.learning import RULES
from neuro.models import MODELS

AnyConfig: TypeAlias = TrainConfig | ReasonConfig
Config = TypeVar("Config", bound=RunConfig)


@dataclass(frozen=True)
class Kind(Generic[Config]):
    """One kind of run.

    Attributes:
        config: the class of its configurations.
        chooser: the table whose ``name`` says what trains.
        noun: what that is called in a message.
        options: for each table that has a name, the options of each name.
        presets: folder of its presets.
        default_dataset: trained on when none is named.
        alternatives: keys that take the place of each other.
    """

    config: type[Config]
    chooser: str
    noun: str
    options: Mapping[str, Mapping[str, type]]
    presets: str
    default_dataset: str
    alternatives: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Everything that trains in this way."""
        return list(self.options[self.chooser])


CLASSIFICATION = Kind(
    config=TrainConfig,
    chooser="rule",
    noun="learning rule",
    options={
        "rule": {name: rule.Options for name, rule in RULES.items()},
        "model": {name: model.options for name, model in MODELS.items()},
        "encoding": dict(ENCODINGS),
        "optimizer": {"adam": Adam, "adamw": AdamW, "sgd": SGD},
        "schedule": {"cosine": Schedule, "constant": Schedule},
    },
    presets=presets.DATA_PRESETS,
    default_dataset="digits",
)
REASONING = Kind(
    config=ReasonConfig,
    chooser="method",
    noun="method of graph reasoning",
    options={"method": {name: method.options for name, method in METHODS.items()}},
    presets=presets.GRAPH_PRESETS,
    default_dataset=DEFAULT_GRAPH,
    alternatives={"graph": "dataset", "dataset": "graph"},
)
AnyKind: TypeAlias = Kind[Any]
KINDS: tuple[AnyKind, ...] = (CLASSIFICATION, REASONING)


def kind_of(name: str) -> AnyKind | None:
    """Return the kind of run that ``name`` trains, if it is a rule or a method."""
    return next((kind for kind in KINDS if name in kind.names), None)


def read_config(record: Mapping[str, Any]) -> AnyConfig:
    """Read what ``to_json`` of a configuration gave.

    Raises:
        pydantic.ValidationError, NeuroError, TypeError: it is no configuration of this version.
    """
    if REASONING.chooser in record:
        return REASONING.config(**record)
    return CLASSIFICATION.config(**record)
