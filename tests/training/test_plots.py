"""Figures show what the run did."""

import pytest
import torch
from PIL import Image

from neuro.data import load_dataset
from neuro.training.classification import ClassificationSession
from neuro.training.plots import draw_firing_rates, draw_learning_curve, draw_raster, record_spikes


@pytest.fixture
def session(tiny) -> ClassificationSession:
    config = tiny(model={"hidden": [16, 4]}, timesteps=5)
    return ClassificationSession(config, load_dataset("digits"), torch.device("cpu"), started=0.0)


def colours(file) -> int:
    with Image.open(file) as image:
        return len(image.convert("RGB").getcolors(maxcolors=1_000_000))


def test_recorded_spikes_are_those_of_the_run(session):
    test = session.dataset.test
    spikes, logits = record_spikes(session.network, session.feeder, test, 7, 0)
    assert {name: tuple(record.shape) for name, record in spikes.items()} == {
        "lif1": (5, 16),
        "lif2": (5, 4),
    }
    inputs = session.feeder.take(test, torch.tensor([7])).inputs
    readout = session.network.run([inputs] * 5)
    assert torch.equal(logits, readout.logits[0])
    for name, record in spikes.items():
        assert set(record.unique().tolist()) <= {0.0, 1.0}
        assert float(record.mean()) == pytest.approx(float(readout.firing_rates[name]))
    assert not session.network.nodes["lif1"]._forward_hooks


def test_all_three_figures_are_drawn(tmp_path, session):
    records = [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 0.5,
            "validation_loss": 1.0,
            "validation_accuracy": 0.4,
            "firing_rates": {"lif1": 0.1, "lif2": 0.2},
        }
        for epoch in (1, 2)
    ]
    draw_learning_curve(records, tmp_path / "p" / "curve.png")
    draw_firing_rates(records, tmp_path / "p" / "rates.png")
    draw_raster(
        session.network, session.feeder, session.dataset.test, tmp_path / "p" / "raster.png"
    )
    assert sorted(file.name for file in (tmp_path / "p").iterdir()) == [
        "curve.png",
        "raster.png",
        "rates.png",
    ]
    for file in (tmp_path / "p").iterdir():
        assert colours(file) > 20


def test_a_run_without_validation_is_drawn_too(tmp_path):
    records = [{"epoch": 1, "train_loss": 0.3, "train_accuracy": 0.5}]
    draw_learning_curve(records, tmp_path / "curve.png")
    assert colours(tmp_path / "curve.png") > 20
