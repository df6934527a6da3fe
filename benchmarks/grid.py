"""A grid of training runs: its variants, how they are judged, and what it must show."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuro.errors import UsageError, nearest

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A learning rule, or a method of graph reasoning, with its own settings.

    Attributes:
        name: how results call it.
        method: its name for ``neuro train``.
        settings: laid over those of the grid; the keys are those of ``--set``.
    """

    name: str
    method: str
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A statement about means over seeds: ``sum_v weights[v] * mean(quantity of v) >= at_least``.

    Attributes:
        text: the statement in words.
        weights: by variant.
        at_least: in units of ``quantity``.
        quantity: a number that every run records.
    """

    text: str
    weights: Mapping[str, float]
    at_least: float
    quantity: str = "test_accuracy"


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A published figure to stand beside ours.

    Attributes:
        variant: what it was published of.
        quantity: the number of a run that it compares with.
        value: in its units.
        source: where it was published.
    """

    variant: str
    quantity: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """How the runs of a grid are judged.

    Attributes:
        kind: of the result file.
        measure: a number of every run, by which variants are compared.
        explanation: what the measure is, in words.
        quantities: numbers of a run whose means over seeds are taken.
        curves: numbers of an epoch that are kept; an epoch without validation has not all.
    """

    kind: str
    measure: str
    explanation: str
    quantities: tuple[str, ...]
    curves: tuple[str, ...]


COSTS = ("firing_rate", "seconds", "samples_per_second", "peak_memory_mb")
CLASSIFICATION = Task(
    kind="accuracy",
    measure="test_accuracy",
    explanation="test_accuracy is that of the last epoch; no epoch is chosen by test accuracy",
    quantities=("test_accuracy", "test_accuracy_best_validation", *COSTS),
    curves=("train_loss", "train_accuracy", "validation_accuracy"),
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Variants x seeds on one data set with one budget.

    Attributes:
        name: of the grid and of its result file.
        title: for tables and figures.
        dataset: name of the data set.
        settings: what ``neuro train`` is told; what is left out follows the data set's preset.
        variants: the rows.
        seeds: the columns.
        baseline: the variant that the others are compared with.
        bars: what the grid must show.
        anchors: published figures to stand beside it.
        task: how its runs are judged.
        folder: of its runs; null for its name. Grids of one folder share the runs of equal command.
    """

    name: str
    title: str
    dataset: str
    settings: Settings
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    baseline: str = "ottt"
    bars: tuple[Bar, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    task: Task = CLASSIFICATION
    folder: str | None = None

    def variant(self, name: str) -> Variant:
        """Return a variant by name.

        Raises:
            UsageError: there is none.
        """
        names = [variant.name for variant in self.variants]
        if name not in names:
            raise UsageError(
                f"Grid {self.name} has no variant {name!r}.{nearest(name, names)} "
                f"It has: {', '.join(names)}."
            )
        return self.variants[names.index(name)]


def at_least(variant: str, accuracy: float) -> Bar:
    return Bar(text=f"{variant} >= {accuracy:.1%}", weights={variant: 1}, at_least=accuracy)


def above(higher: str, lower: str, points: float = 0.0) -> Bar:
    margin = f" by {points:g} points" if points else ""
    return Bar(
        text=f"{higher} above {lower}{margin}",
        weights={higher: 1, lower: -1},
        at_least=points / 100,
    )


def within(variant: str, of: str, points: float) -> Bar:
    return Bar(
        text=f"{variant} at most {points:g} points below {of}",
        weights={variant: 1, of: -1},
        at_least=-points / 100,
    )


def halfway(variant: str, low: str, high: str) -> Bar:
    return Bar(
        text=f"{variant} at least halfway from {low} to {high}",
        weights={variant: 1, low: -0.5, high: -0.5},
        at_least=0.0,
    )


def faster_than(variant: str, seconds: float) -> Bar:
    return Bar(
        text=f"{variant} under {seconds:g} s with evaluation",
        weights={variant: -1},
        at_least=-seconds,
        quantity="seconds",
    )
