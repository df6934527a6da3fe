"""Every grid can be trained as it is written."""

import pytest

from benchmarks.cells import Cell
from benchmarks.graph_grids import BEST, BUDGETS, NBFNET_BUDGETS, PUBLISHED_BUDGET
from benchmarks.grid import CLASSIFICATION
from benchmarks.grids import COLLECTIONS, GRIDS, RULE_GRIDS, find_grid, find_grids
from neuro.data import DATASETS
from neuro.errors import UsageError
from neuro.graph import GRAPHS

GRID_NAMES = list(GRIDS)
GRAPH_NAMES = [name for name in GRIDS if GRIDS[name].task is not CLASSIFICATION]


@pytest.mark.parametrize("name", GRID_NAMES)
def test_each_variant_resolves_to_a_configuration(name):
    grid = GRIDS[name]
    assert grid.dataset in (DATASETS if grid.task is CLASSIFICATION else GRAPHS)
    for variant in grid.variants:
        config = Cell(grid, variant, 2).config()
        assert config.method_name == variant.method
        assert config.seed == 2
        for key, value in {**grid.settings, **variant.settings}.items():
            found = config
            for part in key.split("."):
                found = getattr(found, part)
            wanted = tuple(value) if isinstance(value, list) else value
            assert getattr(found, "name", found) == wanted


@pytest.mark.parametrize("name", GRID_NAMES)
def test_bars_and_baseline_name_variants_of_the_grid(name):
    grid = GRIDS[name]
    names = {variant.name for variant in grid.variants}
    assert len(names) == len(grid.variants)
    assert grid.baseline in names
    assert len({bar.text for bar in grid.bars}) == len(grid.bars)
    for bar in grid.bars:
        assert set(bar.weights) <= names


@pytest.mark.parametrize("grid", RULE_GRIDS, ids=lambda grid: grid.name)
def test_learning_rules_have_at_least_three_seeds(grid):
    assert len(set(grid.seeds)) >= 3


@pytest.mark.parametrize("name", GRAPH_NAMES)
def test_a_graph_trains_for_its_budget_and_judges_what_it_compares(name):
    grid = GRIDS[name]
    for variant in grid.variants:
        config = Cell(grid, variant, 0).config()
        own = NBFNET_BUDGETS if variant.method == "nbfnet" else {}
        budget = own.get(grid.dataset, BUDGETS[grid.dataset])
        assert (config.epochs, config.batches_per_epoch) == budget
    assert grid.task.measure in grid.task.quantities
    assert {anchor.quantity for anchor in grid.anchors} <= set(grid.task.quantities)
    assert {bar.quantity for bar in grid.bars} <= set(grid.task.quantities)


def test_a_published_figure_is_asked_for_only_where_training_is_as_long():
    asked = {grid.name for grid in GRIDS.values() if grid.anchors and grid.bars}
    budgets = BUDGETS | NBFNET_BUDGETS
    as_long = {name for name, budget in budgets.items() if budget == PUBLISHED_BUDGET}
    assert asked == as_long & {name for name in GRIDS if GRIDS[name].anchors}
    (bar,) = GRIDS["fb237_v1"].bars
    assert bar.at_least == pytest.approx(0.814)
    assert bar.weights == {"nbfnet": 1}
    assert bar.quantity == "hits_at_10_of_50_itself" + BEST


def test_an_ablation_changes_one_setting_and_shares_the_baseline_of_its_graph(tmp_path):
    for grid in COLLECTIONS["ablations"]:
        own = GRIDS[grid.dataset]
        assert grid.settings == own.settings
        assert [len(variant.settings) for variant in grid.variants] == [0] + [1] * 7
        configs = [Cell(grid, variant, 0).config() for variant in grid.variants]
        assert len({config.fingerprint() for config in configs}) == len(configs)
        cells = [Cell(each, each.variant("grsnn"), 0) for each in (grid, own)]
        assert cells[0].folder(tmp_path) == cells[1].folder(tmp_path)


def test_a_name_stands_for_a_grid_or_a_collection():
    assert not set(GRIDS) & set(COLLECTIONS)
    assert find_grids("umls") == (GRIDS["umls"],)
    assert [grid.name for grid in find_grids("reasoning")][:3] == ["umls", "kinship", "wn18rr_v1"]
    with pytest.raises(UsageError, match='Did you mean "ablations"'):
        find_grids("ablation")


def test_an_unknown_grid_names_the_nearest():
    with pytest.raises(UsageError, match='Did you mean "mnist1d"'):
        find_grid("mnist-1d")
