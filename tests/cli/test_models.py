"""``neuro models``: parameters and neurons as counted by hand."""

import json

from neuro.models import MODELS


def test_every_model_is_listed_with_its_size(command):
    records = json.loads(command("models", "--json").out)["models"]
    assert [record["name"] for record in records] == list(MODELS)
    mlp = records[0]
    inputs = 3 * 32 * 32
    weights = inputs * 800 + 800 * 800 + 800 * 10
    assert weights < mlp["parameters"] < weights + 5 * 800
    assert mlp["neurons"] == 1600
    assert all(name in command("models").out for name in MODELS)


def test_the_layers_of_one_follow_shape_and_options(command):
    result = command(
        "models", "mlp", "--input-shape", "20", "--classes", "3", "--set", "hidden=[5]", "--json"
    )
    found = json.loads(result.out)
    (record,) = found["models"]
    assert found["input_shape"] == [20]
    assert record["neurons"] == 5
    assert [layer["output_shape"] for layer in record["layers"]] == [[5], [5], [3]]
    text = command("models", "conv5", "--input-shape", "1x28x28", "--set", "width=0.5").out
    assert "64x28x28" in text


def test_a_model_that_cannot_take_the_input_says_why(command):
    listed = command("models", "--input-shape", "784")
    assert listed.code == 0
    assert "takes images" in listed.out
    alone = command("models", "conv5", "--input-shape", "784")
    assert alone.code == 2
    assert "takes images" in alone.err
