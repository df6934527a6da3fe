"""Synapses from events beside the dense product: that they agree, and what is claimed of ratios."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import synapses as module
from benchmarks.command import CheckFailedError, run
from benchmarks.figures import draw_synapses
from benchmarks.records import origin, write_result
from benchmarks.synapses import (
    DENSE,
    EVENTS,
    LAYERS,
    MEMORY,
    OURS,
    SPARSE,
    Layer,
    check_bars,
    contenders,
    crossing_of,
    measure,
    synapses,
)
from benchmarks.tables import render

SMALL = (
    Layer((9, 30), (20, 30)),
    Layer((9, 30), (20, 30), gradient=True),
    Layer((2, 3, 9, 7), (4, 3, 3, 3)),
)


@pytest.mark.parametrize("layer", SMALL)
def test_contenders_agree_and_are_timed_with_each_number_of_threads(layer):
    threads = torch.get_num_threads()
    try:
        found = measure(layer, [1, 2], 2, 1, densities=(0.02, 1.0))
    finally:
        torch.set_num_threads(threads)
    assert found["curves"].keys() == {"1", "2"}
    for curve in found["curves"].values():
        assert [point["density"] for point in curve["points"]] == [0.02, 1.0]
        for point in curve["points"]:
            assert point["times"].keys() == {DENSE, EVENTS, OURS, MEMORY}
            assert all(each["min_ms"] > 0 for each in point["times"].values())
            assert point["dense_over"].keys() == {OURS, EVENTS}


def test_contenders_that_disagree_are_not_timed(monkeypatch):
    monkeypatch.setattr(module, "event_linear", lambda spikes, weight: spikes @ weight.t() + 1)
    with pytest.raises(CheckFailedError, match="differs from the dense product"):
        contenders(SMALL[0], 0.5)


def test_names_tell_layers_apart_and_densities_hold_the_claimed_one():
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)
    assert SPARSE in module.DENSITIES
    assert SMALL[2].name == "2 x 3 x 9 x 7 -> 4, 3 x 3"
    assert SMALL[1].name == "weight gradient, 9 x 30 -> 20"


def point(density: float, ours: float, events: float | None = None) -> dict[str, Any]:
    ratios = {OURS: ours, EVENTS: ours if events is None else events}
    return {
        "density": density,
        "times": {name: {"median_ms": 2.0} for name in (DENSE, EVENTS, OURS, MEMORY)},
        "dense_over": {name: {"median": ratio} for name, ratio in ratios.items()},
    }


def test_the_crossing_lies_between_the_densities_around_it():
    # events take 1/4, 1/2 and 3/2 of the dense product's time
    curve = [point(0.1, 4), point(0.2, 2), point(0.4, 2 / 3)]
    assert crossing_of(curve) == pytest.approx(0.3)
    assert crossing_of(curve[:2]) == 1
    assert crossing_of(curve[2:]) is None


def record(sparse: float, worst: float, small: bool = False) -> dict[str, Any]:
    points = [point(0.001, 9.0), point(SPARSE, sparse), point(0.1, worst, 0.5)]
    curve = {"crossing": 0.08, "points": points}
    layer = {
        "name": "a layer",
        "spikes": [9, 30],
        "weight": [20, 30],
        "gradient": False,
        "small": small,
        "expected_crossing": 0.07,
        "curves": {"1": curve, "2": curve},
    }
    return {"kind": "synapses", "rounds": 15, "threads": [1, 2], "layers": [layer]}


def test_check_holds_ours_to_its_ratios(capsys):
    check_bars(record(4.1, 0.95))
    assert capsys.readouterr().out.count("holds") == 4
    check_bars(record(1.0, 0.95, small=True))
    conv = record(3.1, 0.95)
    conv["layers"][0]["weight"] = [20, 30, 3, 3]
    check_bars(conv)
    for sparse, worst in ((3.9, 1.0), (5.0, 0.85)):
        with pytest.raises(CheckFailedError, match="2 bars"):
            check_bars(record(sparse, worst))


def test_wrong_use_is_told_in_one_message(capsys):
    assert run(synapses, ["--rounds", "0"]) == 2
    assert "--rounds must be >= 1" in capsys.readouterr().err


def test_the_table_and_the_picture_are_made_from_the_file(tmp_path: Path):
    opening = origin(["python", "-m", "benchmarks.synapses"])
    write_result(tmp_path / "synapses.json", {**opening, **record(4.1, 0.95)})
    text = render(tmp_path)
    assert "| a layer | 2.00 | 2.00 | 9.0 | 4.1 | 0.9 | 4.1 | 0.95 | 8 % | 7 % |" in text
    assert "`python -m benchmarks.synapses`" in text
    draw_synapses(record(4.1, 0.95), tmp_path / "synapses.png")
    assert (tmp_path / "synapses.png").read_bytes()[:4] == b"\x89PNG"
