"""The grids of training runs by name, and collections of them: settings, variants, bars.

Grids of learning rules are here, those of graph reasoning in :mod:`benchmarks.graph_grids`. Data
only.
"""

from benchmarks.graph_grids import ABLATION_GRIDS, BY_COST, REASONING_GRIDS
from benchmarks.grid import (
    Grid,
    Settings,
    Variant,
    above,
    at_least,
    faster_than,
    halfway,
    within,
)
from neuro.errors import UsageError, nearest

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
        Variant(name="bptt", method="bptt"),
        Variant(name="ottt", method="ottt"),
        Variant(name="dfa", method="dfa"),
        Variant(name="dkp", method="dkp"),
        Variant(name="zo", method="zo", settings=zero_order),
        Variant(name="opzo", method="opzo"),
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
    Variant(name="ottt", method="ottt"),
    Variant(name="opzo", method="opzo", settings=SHARED),
    Variant(name="opzo+ll", method="opzo", settings={**SHARED, "rule.local_learning": True}),
    Variant(name="opzo-unshared", method="opzo", settings=UNSHARED),
    Variant(name="dfa", method="dfa"),
    Variant(name="dkp", method="dkp"),
    Variant(name="zo", method="zo", settings=ZERO_ORDER),
)
CONV_BARS = (
    above("ottt", "opzo"),
    above("opzo", "dfa"),
    above("dfa", "zo"),
    halfway("opzo", "dfa", "ottt"),
    above("opzo+ll", "opzo"),
)

RULE_GRIDS = (
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
            Variant(name="bptt", method="bptt"),
            Variant(name="ottt", method="ottt"),
            Variant(name="dfa", method="dfa"),
            Variant(name="dkp", method="dkp"),
            Variant(name="zo", method="zo", settings=ZERO_ORDER),
            Variant(name="opzo", method="opzo", settings=PAIRS),
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
GRIDS: dict[str, Grid] = {
    grid.name: grid for grid in (*RULE_GRIDS, *REASONING_GRIDS, *ABLATION_GRIDS)
}
COLLECTIONS: dict[str, tuple[Grid, ...]] = {
    "reasoning": tuple(GRIDS[name] for name in BY_COST),
    "ablations": ABLATION_GRIDS,
}
"""Grids that one command trains, the cheapest first."""


def find_grid(name: str) -> Grid:
    """Return a grid by name.

    Raises:
        UsageError: there is none.
    """
    if name not in GRIDS:
        raise UsageError(f"Unknown grid {name!r}.{nearest(name, GRIDS)} Grids: {', '.join(GRIDS)}.")
    return GRIDS[name]


def find_grids(name: str) -> tuple[Grid, ...]:
    """Return the grids of a collection, or the one grid of a name.

    Raises:
        UsageError: there is none.
    """
    if name in COLLECTIONS:
        return COLLECTIONS[name]
    if name not in GRIDS:
        known = [*GRIDS, *COLLECTIONS]
        raise UsageError(
            f"Unknown grid {name!r}.{nearest(name, known)} Grids: {', '.join(GRIDS)}. "
            f"Collections of grids: {', '.join(COLLECTIONS)}."
        )
    return (GRIDS[name],)
