"""The grids of graph reasoning: graphs, budgets, methods, and what was published of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.grid import COSTS, Anchor, Bar, Grid, Settings, Task, Variant


class Budget(NamedTuple):
    """How long every run of a grid trains; ``batches`` None for all triples in each epoch."""

    epochs: int
    batches: int | None = None


PUBLISHED_BUDGET = Budget(20)
BUDGETS: dict[str, Budget] = {
    "umls": Budget(4),
    "kinship": Budget(4),
    "wn18rr_v1": Budget(5),
    "fb237_v1": PUBLISHED_BUDGET,
    "cora": Budget(3),
    "citeseer": Budget(3),
    "wn18rr_v2": Budget(4, batches=200),
    "fb237_v2": Budget(4),
    "wn18rr_v3": Budget(3, batches=100),
    "fb237_v3": Budget(3, batches=200),
    "wn18rr_v4": Budget(3, batches=200),
    "fb237_v4": Budget(3, batches=200),
    "wn18rr": Budget(14, batches=500),
}
"""By graph. Other budgets than the published one are what two cores do in minutes a run."""
NBFNET_BUDGETS: dict[str, Budget] = {
    "cora": Budget(1),
    "citeseer": Budget(1, batches=200),
    "wn18rr_v2": Budget(4, batches=50),
    "fb237_v2": Budget(2),
    "wn18rr_v3": Budget(3, batches=40),
    "fb237_v3": Budget(3, batches=50),
    "wn18rr_v4": Budget(3, batches=80),
    "fb237_v4": Budget(3, batches=40),
}
"""Where they are others: NBFNet's products are dense, GRSNN's go with its spikes."""

BY_COST = tuple(name for name in BUDGETS if name != "wn18rr")
"""The graphs that one command trains on, in the order of their budgets above."""
ONE_SEED = frozenset({"wn18rr_v3", "fb237_v3", "wn18rr_v4", "fb237_v4", "wn18rr"})
ABLATED = ("umls", "wn18rr_v1")
LEARNING_CURVE = "wn18rr"
"""The graph whose validation over the epochs is drawn."""
BEST = "_best_validation"
"""Ending of what a run measured after the epoch that did best in validation."""

RANKS = ("mrr", "mr", "hits_at_1", "hits_at_3", "hits_at_10")
OF_50 = ("hits_at_10_of_50", "hits_at_10_of_50_itself")
LINK_MEASURES = ("auroc", "average_precision")


def _task(kind: str, measures: Sequence[str], judge: str) -> Task:
    after = (*measures, "firing_rate")
    return Task(
        kind=kind,
        measure=judge + BEST,
        explanation=f"{judge} on the test set, after the epoch that did best in validation",
        quantities=(*measures, *(name + BEST for name in after), "parameters", *COSTS),
        curves=("train_loss", f"validation_{judge}"),
    )


def _facts(kind: str, *more: str) -> Task:
    names = (*RANKS, *more)
    return _task(kind, (*names, *(f"{name}_realistic" for name in names)), "mrr")


def _task_of(graph: str, kind: str) -> Task:
    if graph in ("cora", "citeseer"):
        return _task(kind, LINK_MEASURES, "auroc")
    return _facts(kind, *OF_50) if "_v" in graph else _facts(kind)


NBFNET_README = "README of NBFNet"
PUBLISHED: dict[str, Mapping[str, float]] = {
    "fb237_v1": {"hits_at_10_of_50_itself": 0.834},
    "fb237_v2": {"hits_at_10_of_50_itself": 0.949},
    "fb237_v3": {"hits_at_10_of_50_itself": 0.951},
    "fb237_v4": {"hits_at_10_of_50_itself": 0.960},
    "wn18rr_v1": {"hits_at_10_of_50_itself": 0.948},
    "wn18rr_v2": {"hits_at_10_of_50_itself": 0.905},
    "wn18rr_v3": {"hits_at_10_of_50_itself": 0.893},
    "wn18rr_v4": {"hits_at_10_of_50_itself": 0.890},
    "cora": {"auroc": 0.956, "average_precision": 0.962},
    "citeseer": {"auroc": 0.923, "average_precision": 0.936},
    "wn18rr": {"mrr": 0.551, "hits_at_10": 0.666},
}
"""What NBFNet's authors state, counted as their code counts: the answer is its own rival."""
POINTS_BELOW = 2.0


def budget_text(settings: Settings) -> str:
    """Say in words how long the runs of a grid train."""
    batches = settings.get("batches_per_epoch")
    epochs = settings["epochs"]
    text = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    return text if batches is None else f"{text} of {batches} batches"


def _settings(budget: Budget) -> dict[str, Any]:
    epochs, batches = budget
    return {"epochs": epochs} | ({} if batches is None else {"batches_per_epoch": batches})


def _of_nbfnet(graph: str) -> dict[str, Any]:
    """Return the settings in which NBFNet's runs differ from the grid's."""
    if graph not in NBFNET_BUDGETS:
        return {}
    own = _settings(NBFNET_BUDGETS[graph])
    return {name: own.get(name) for name in _settings(BUDGETS[graph]) | own}


def _anchors(graph: str) -> tuple[Anchor, ...]:
    return tuple(
        Anchor(variant="nbfnet", quantity=name + BEST, value=value, source=NBFNET_README)
        for name, value in PUBLISHED.get(graph, {}).items()
    )


def _bars(graph: str) -> tuple[Bar, ...]:
    """What was published can be asked of runs that train as long."""
    if NBFNET_BUDGETS.get(graph, BUDGETS[graph]) != PUBLISHED_BUDGET:
        return ()
    return tuple(
        Bar(
            text=f"{anchor.variant} at most {POINTS_BELOW:g} points below the published "
            f"{100 * anchor.value:.1f} % of {anchor.quantity.removesuffix(BEST)}",
            weights={anchor.variant: 1},
            at_least=anchor.value - POINTS_BELOW / 100,
            quantity=anchor.quantity,
        )
        for anchor in _anchors(graph)
    )


TITLES = {"umls": "UMLS", "kinship": "Kinship", "cora": "Cora", "citeseer": "CiteSeer"}


def _title(graph: str) -> str:
    family, _, version = graph.partition("_")
    name = TITLES.get(family, {"fb237": "FB15k-237"}.get(family, family.upper()))
    return f"{name} {version}".strip()


def _reasoning(graph: str) -> Grid:
    settings = _settings(BUDGETS[graph])
    return Grid(
        name=graph,
        title=_title(graph),
        dataset=graph,
        settings=settings,
        variants=(
            Variant(name="grsnn", method="grsnn"),
            Variant(name="nbfnet", method="nbfnet", settings=_of_nbfnet(graph)),
        ),
        seeds=(0,) if graph in ONE_SEED else (0, 1, 2),
        baseline="nbfnet",
        bars=_bars(graph),
        anchors=_anchors(graph),
        task=_task_of(graph, "reasoning"),
    )


GRSNN_ABLATED: dict[str, Settings] = {
    "grsnn": {},
    "not-delay": {"method.not_delay": True},
    "exact-delay-gradient": {"method.delay_gradient": "exact"},
    "timesteps-5": {"method.timesteps": 5},
    "timesteps-15": {"method.timesteps": 15},
    "timesteps-20": {"method.timesteps": 20},
    "delay-bound-2": {"method.delay_bound": 2},
    "delay-bound-8": {"method.delay_bound": 8},
}
"""Each changes one setting; the first, changing none, is the grid of the graph's own run."""


def _ablation(graph: str) -> Grid:
    settings = _settings(BUDGETS[graph])
    return Grid(
        name=f"ablation-{graph}",
        title=f"Ablations of GRSNN on {_title(graph)}",
        dataset=graph,
        settings=settings,
        variants=tuple(
            Variant(name=name, method="grsnn", settings=changed)
            for name, changed in GRSNN_ABLATED.items()
        ),
        baseline="grsnn",
        task=_task_of(graph, "ablation"),
        folder=graph,
    )


REASONING_GRIDS = tuple(_reasoning(graph) for graph in BUDGETS)
ABLATION_GRIDS = tuple(_ablation(graph) for graph in ABLATED)
