"""How settings are read from text and laid over each other."""

import pytest

from neuro.config.merge import Settings, parse_assignment
from neuro.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("lr=1e-3", ("lr",), 1e-3),
        ("rule.alpha = 0.1", ("rule", "alpha"), 0.1),
        ("model.hidden=[256,256]", ("model", "hidden"), [256, 256]),
        ("augment=false", ("augment",), False),
        ("encoding.name=rate", ("encoding", "name"), "rate"),
        ('dataset="events:mnist"', ("dataset",), "events:mnist"),
        ("dataset=events:mnist", ("dataset",), "events:mnist"),
        ("model.norm=none", ("model", "norm"), "none"),
        ("batch-size=7", ("batch_size",), 7),
    ],
)
def test_an_assignment_is_a_path_and_a_toml_value(text, path, value):
    assert parse_assignment(text) == (path, value)


@pytest.mark.parametrize("text", ["lr", "=3", "lr=", "model.hidden=[1,", "lr=1\nseed=2", "a..b=1"])
def test_a_malformed_assignment_says_how_to_write_one(text):
    with pytest.raises(ConfigError, match="--set"):
        parse_assignment(text)


def test_later_settings_win_and_keep_their_source():
    settings = Settings()
    settings.add({"lr": 1.0, "model": {"name": "mlp", "hidden": [1]}}, "preset p")
    settings.add({"lr": 2.0}, "file f")
    settings.assign(("model", "hidden"), [5], "--set model.hidden=[5]")
    assert settings.table == {"lr": 2.0, "model": {"name": "mlp", "hidden": [5]}}
    assert settings.origin(("lr",)) == "file f"
    assert settings.origin(("model", "name")) == "preset p"
    assert settings.origin(("model", "hidden")) == "--set model.hidden=[5]"
    assert settings.origin(("epochs",)) == "the defaults"


def test_null_is_no_value_wherever_it_stands():
    settings = Settings()
    settings.add({"threads": 4, "rule": {"name": "opzo", "freeze_feedback_after": "null"}}, "f")
    settings.assign(*parse_assignment("threads=null"), "--set threads=null")
    assert settings.table == {
        "threads": None,
        "rule": {"name": "opzo", "freeze_feedback_after": None},
    }


def test_a_new_name_leaves_the_options_of_the_old_one_behind():
    settings = Settings()
    settings.add({"model": {"name": "mlp", "hidden": [1]}}, "preset p")
    settings.add({"model": "conv5"}, "the command line")
    assert settings.table == {"model": {"name": "conv5"}}
    assert settings.dropped == [("model.hidden", "preset p", "model mlp")]


def test_the_same_name_keeps_the_options():
    settings = Settings()
    settings.add({"model": {"name": "mlp", "hidden": [1]}}, "preset p")
    settings.add({"model": "mlp"}, "the command line")
    assert settings.table == {"model": {"name": "mlp", "hidden": [1]}}
    assert settings.dropped == []
