"""The grids of training runs: settings, rules, seeds, and what each grid must show. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuro.errors import UsageError, nearest

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A learning rule with its own settings.

    Attributes:
        name: how results call it.
        rule: the rule's name for ``neuro train``.
        settings: laid over those of the grid; the keys are those of ``--set``.
    """

    name: str
    rule: str
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
class Grid:
    """Rule variants x seeds on one data set with one network and one budget.

    Attributes:
        name: of the grid and of its result file.
        title: for tables and figures.
        dataset: name of the data set.
        settings: what ``neuro train`` is told; what is left out follows the data set's preset.
        variants: the rows.
        seeds: the columns.
        baseline: the variant that the others are compared with.
        bars: what the grid must show.
    """

    name: str
    title: str
    dataset: str
    settings: Settings
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    baseline: str = "ottt"
    bars: tuple[Bar, ...] = ()

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


ZERO_ORDER: Settings = {"lr": 3e-5}
"""Learning from one number per sample is orders of magnitude noisier: far smaller steps.

Chosen among a few single runs on MNIST; larger steps ended at chance there.
"""

# Adam and the cosine schedule are defaults of `neuro train` and are not repeated here.
MLP_SETTINGS: Settings = {
    "model": "mlp",
    "model.hidden": [800, 800],
    "timesteps": 6,
    "epochs": 5,
    "batch_size": 128,
    "lr": 2e-3,
    "validation_fraction": 0.05,
}
CONV5_SETTINGS: Settings = {
    "model": "conv5",
    "timesteps": 6,
    "batch_size": 128,
    "lr": 2e-3,
    "validation_fraction": 0.05,
}


def all_rules(zero_order: Settings) -> tuple[Variant, ...]:
    return (
        Variant(name="bptt", rule="bptt"),
        Variant(name="ottt", rule="ottt"),
        Variant(name="dfa", rule="dfa"),
        Variant(name="dkp", rule="dkp"),
        Variant(name="zo", rule="zo", settings=zero_order),
        Variant(name="opzo", rule="opzo"),
    )


ALL_RULES = all_rules(ZERO_ORDER)
ALL_RULES_FEW_STEPS = all_rules({"lr": 3e-4})
"""For small sets: a run of several hundred steps gets nowhere with steps of 3e-5."""

# Half the step size, and estimates of the feedback with less variance, from pairs of steps in which
# what the noise does not change cancels: each chosen on one run, where the settings of the other
# rules left OPZO half a point behind.
PAIRS: Settings = {
    "lr": 1e-3,
    "rule.feedback_rule": "delta",
    "rule.feedback_update": "per_pair",
}

# Squares of 8, 4, 2 and 1 positions share feedback: they keep most of the mean Jacobian's alignment
# and cut the noise of its estimate by their area.
SHARED: Settings = {"rule.feedback_grid": 4}
UNSHARED: Settings = {"rule.feedback_grid": None}
CONV_RULES = (
    Variant(name="ottt", rule="ottt"),
    Variant(name="opzo", rule="opzo", settings=SHARED),
    Variant(name="opzo+ll", rule="opzo", settings={**SHARED, "rule.local_learning": True}),
    Variant(name="opzo-unshared", rule="opzo", settings=UNSHARED),
    Variant(name="dfa", rule="dfa"),
    Variant(name="dkp", rule="dkp"),
    Variant(name="zo", rule="zo", settings=ZERO_ORDER),
)
CONV_BARS = (
    above("ottt", "opzo"),
    above("opzo", "dfa"),
    above("dfa", "zo"),
    halfway("opzo", "dfa", "ottt"),
    above("opzo+ll", "opzo"),
)

_GRIDS = (
    Grid(
        name="digits",
        title="Digits, the default of `neuro train`",
        dataset="digits",
        settings={},
        variants=ALL_RULES_FEW_STEPS,
        bars=(at_least("opzo", 0.97), faster_than("opzo", 60)),
    ),
    Grid(
        name="mnist",
        title="MNIST, 784-800-800-10, T = 6",
        dataset="mnist",
        settings=MLP_SETTINGS,
        variants=ALL_RULES,
        bars=(at_least("opzo", 0.98), within("opzo", "ottt", 0.4), above("opzo", "zo", 5)),
    ),
    Grid(
        name="fashion-mnist",
        title="Fashion-MNIST, 784-800-800-10, T = 6",
        dataset="fashion-mnist",
        settings={**MLP_SETTINGS, "epochs": 8},
        variants=(
            Variant(name="bptt", rule="bptt"),
            Variant(name="ottt", rule="ottt"),
            Variant(name="dfa", rule="dfa"),
            Variant(name="dkp", rule="dkp"),
            Variant(name="zo", rule="zo", settings=ZERO_ORDER),
            Variant(name="opzo", rule="opzo", settings=PAIRS),
        ),
        bars=(within("opzo", "ottt", 0.4),),
    ),
    Grid(
        name="mnist1d",
        title="MNIST-1D, 40-128-128-128-10, T = 6",
        dataset="mnist1d",
        settings={
            **MLP_SETTINGS,
            "model.hidden": [128, 128, 128],
            "epochs": 10,
            "lr": 3e-3,
        },
        variants=ALL_RULES_FEW_STEPS,
        bars=(at_least("opzo", 0.54), above("opzo", "dfa")),
    ),
    Grid(
        name="cifar10",
        title="CIFAR-10, conv5 at an eighth of its width, T = 6, 4 epochs",
        dataset="cifar10",
        settings={**CONV5_SETTINGS, "model.width": 0.125, "epochs": 4},
        variants=CONV_RULES,
        bars=CONV_BARS,
    ),
    Grid(
        name="cifar10-full",
        title="CIFAR-10, conv5 at full width, T = 6, 100 epochs on a GPU",
        dataset="cifar10",
        settings={**CONV5_SETTINGS, "epochs": 100, "device": "cuda"},
        variants=CONV_RULES,
        bars=CONV_BARS,
    ),
    Grid(
        name="events-mnist",
        title="Events from MNIST, 800-800 hidden neurons, T = 6 frames",
        dataset="events:mnist",
        settings={**MLP_SETTINGS, "rule.mse_weight": 0.001},
        variants=ALL_RULES,
        bars=(within("opzo", "ottt", 0.5),),
    ),
)
GRIDS: dict[str, Grid] = {grid.name: grid for grid in _GRIDS}


def find_grid(name: str) -> Grid:
    """Return a grid by name.

    Raises:
        UsageError: there is none.
    """
    if name not in GRIDS:
        raise UsageError(f"Unknown grid {name!r}.{nearest(name, GRIDS)} Grids: {', '.join(GRIDS)}.")
    return GRIDS[name]
