"""Pictures are drawn from result files alone."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.figures import LABELS, STYLE, figures
from benchmarks.grids import GRIDS
from benchmarks.records import write_result

WEIGHT = {"variance": 1e-6}


def point(step: int, *rules: str) -> dict[str, object]:
    cosines = {"lif1": 0.5, "lif2": 0.9}
    weights = {"linear1": WEIGHT, "linear2": {"variance": 0.0}}
    return {
        "step": step,
        "rules": {rule: {"weights": weights, "credit_cosine": cosines} for rule in rules},
    }


RECORDS = {
    "memory": {
        "network": "784-8-10",
        "batch_size": 4,
        "rows": [
            {"rule": rule, "timesteps": steps, "update_mb": 20.0 + grows * steps}
            for rule, grows in (("opzo", 0), ("bptt", 1))
            for steps in (8, 32)
        ],
    },
    "speed": {
        "workloads": {
            "mlp": {
                "title": "mlp",
                "timesteps": 6,
                "contenders": {
                    name: {"median_us": 10.0, "p20_us": 9.0, "p80_us": 12.0}
                    for name in ("opzo", "ottt", "spikingjelly-ottt")
                },
            }
        }
    },
    "layers": {
        "contenders": {
            name: {
                quantity: {"median_ms": 2.0, "p20_ms": 1.5, "p80_ms": 3.0}
                for quantity in ("forward", "forward_backward")
            }
            for name in ("neuro", "C++")
        },
        "scaling": [
            {"timesteps": steps, "neurons": neurons, "median_ns": 0.5}
            for steps in (8, 32)
            for neurons in (1000, 10000)
        ],
    },
    "gradients": {
        "rules": ["ottt", "opzo"],
        "hidden_layers": [
            {"synapse": "linear1", "neurons": "lif1"},
            {"synapse": "linear2", "neurons": "lif2"},
        ],
        "points": [point(step, "ottt", "opzo") for step in (10, 100)],
        "own": {"opzo": [point(step, "opzo") for step in (10, 100)]},
    },
    "accuracy": {
        "title": "a grid",
        "rules": {"ottt": {}, "opzo": {}, "zo": {}},
        "cells": [
            {"variant": name, "curves": {"validation_accuracy": [0.1, 0.5, 0.6 + 0.1 * seed]}}
            for name in ("ottt", "opzo")
            for seed in (0, 1)
        ]
        + [{"variant": "zo", "state": "diverged"}],
    },
}


@pytest.mark.parametrize("kind", list(RECORDS))
def test_every_kind_of_result_has_a_picture(tmp_path: Path, kind: str) -> None:
    write_result(tmp_path / "results" / "some.json", {"schema": 1, "kind": kind, **RECORDS[kind]})
    figures(results=tmp_path / "results", images=tmp_path / "images")
    with Image.open(tmp_path / "images" / "some.png") as image:
        assert image.format == "PNG"
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    opzo = tuple(int(STYLE["opzo"]["color"][start : start + 2], 16) for start in (1, 3, 5))
    assert opzo in colours
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["some.png"]


def test_every_variant_of_every_grid_has_a_colour_marker_and_label_of_its_own() -> None:
    drawn = [grid for grid in GRIDS.values() if grid.task.kind != "ablation"]
    assert {variant.name for grid in drawn for variant in grid.variants} <= set(STYLE)
    assert set(STYLE) == set(LABELS)
    for key in ("color", "marker"):
        assert len({style[key] for style in STYLE.values()}) == len(STYLE)


def test_a_kind_that_is_a_table_alone_has_no_picture(tmp_path: Path) -> None:
    write_result(tmp_path / "results" / "kept.json", {"schema": 1, "kind": "kept"})
    figures(results=tmp_path / "results", images=tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_the_learning_curve_of_one_graph_is_drawn_and_of_no_other(tmp_path: Path) -> None:
    curves = {
        "train_loss": [0.7, 0.6, 0.5],
        "validation_mrr": [0.2, 0.4],
        "validation_mrr_epochs": [2, 3],
    }
    record = {
        "title": "WN18RR",
        "rules": {"grsnn": {}, "nbfnet": {}},
        "cells": [{"variant": name, "curves": curves} for name in ("grsnn", "nbfnet")],
    }
    for name in ("wn18rr", "umls"):
        file = tmp_path / "results" / f"{name}.json"
        write_result(file, {"schema": 1, "kind": "reasoning", **record})
    figures(results=tmp_path / "results", images=tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["wn18rr.png"]
    with Image.open(tmp_path / "images" / "wn18rr.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20) or []}
    for name in ("grsnn", "nbfnet"):
        assert tuple(bytes.fromhex(STYLE[name]["color"][1:])) in colours
