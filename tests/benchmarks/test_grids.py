"""Every grid can be trained as it is written."""

import pytest

from benchmarks.cells import Cell
from benchmarks.grids import GRIDS, find_grid
from neuro.data import DATASETS
from neuro.errors import UsageError

GRID_NAMES = list(GRIDS)


@pytest.mark.parametrize("name", GRID_NAMES)
def test_each_variant_resolves_to_a_configuration(name):
    grid = GRIDS[name]
    assert grid.dataset in DATASETS
    for variant in grid.variants:
        config = Cell(grid, variant, 2).config()
        assert config.rule.name == variant.rule
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


@pytest.mark.parametrize("name", GRID_NAMES)
def test_at_least_three_seeds(name):
    assert len(set(GRIDS[name].seeds)) >= 3


def test_an_unknown_grid_names_the_nearest():
    with pytest.raises(UsageError, match='Did you mean "mnist1d"'):
        find_grid("mnist-1d")
