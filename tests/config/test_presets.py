"""Presets: one for every data set, found by name."""

import pytest

from neuro.config.presets import preset_for, preset_names, read_preset
from neuro.data import DATASETS
from neuro.errors import ConfigError


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_data_set_has_a_preset_of_its_own(dataset):
    name = preset_for(dataset)
    assert name is not None, f"neuro/config/presets has no file for {dataset}"
    assert read_preset(name)["dataset"] == dataset


def test_every_preset_belongs_to_a_data_set():
    assert sorted(preset_for(dataset) for dataset in DATASETS) == preset_names()


def test_a_data_set_without_a_preset_has_none():
    assert preset_for("events:unheard-of") is None


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match='Did you mean "fashion-mnist"'):
        read_preset("fashion_mnist")
