"""The networks that are trained to be exported, and the chips they are exported for. Data only."""

from benchmarks.grid import Grid, Variant

# Short budgets: what counts is not how well a network does, but that integers do as well.
NETWORKS = Grid(
    name="exports",
    title="Networks for chips, hard reset",
    dataset="digits",
    settings={"model.reset": "hard"},
    variants=(
        Variant(name="digits", method="opzo", settings={"dataset": "digits"}),
        Variant(
            name="mnist",
            method="opzo",
            settings={"dataset": "mnist", "epochs": 3},
        ),
        Variant(
            name="mnist-rate",
            method="opzo",
            settings={"dataset": "mnist", "encoding.name": "rate", "epochs": 3},
        ),
        Variant(
            name="events-mnist",
            method="opzo",
            settings={"dataset": "events:mnist", "timesteps": 6, "epochs": 2, "lr": 2e-3},
        ),
        Variant(
            name="cifar10",
            method="opzo",
            settings={"dataset": "cifar10", "model.width": 0.125, "epochs": 2},
        ),
    ),
    seeds=(0,),
    baseline="digits",
)
PROFILES = {
    "digits": ("loihi2",),
    "mnist": ("loihi2",),
    "mnist-rate": ("loihi1",),
    "events-mnist": ("loihi2",),
    "cifar10": ("loihi2",),
}
"""Chips by network; a spike of Loihi 1 carries no number, and frames of events hold counts."""
