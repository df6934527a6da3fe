"""Precedence of sources, and what wrong settings are answered with."""

import json

import pytest

from neuro.config import load_config, preset_names, resolve_config, resume_config
from neuro.config.presets import read_preset
from neuro.errors import ConfigError, UsageError
from neuro.learning import RULES


def test_the_preset_of_the_data_set_applies_when_nothing_else_is_said():
    loaded = resolve_config("opzo")
    preset = read_preset("digits")
    assert loaded.preset == "digits"
    assert loaded.config.lr == preset["lr"]
    assert loaded.config.model.hidden == tuple(preset["model"]["hidden"])
    assert resolve_config("opzo", flags={"dataset": "mnist"}).preset == "mnist"


def test_later_sources_win(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("lr = 0.5\nepochs = 7\nbatch_size = 9\n")
    config = resolve_config(
        "dfa",
        source=file,
        flags={"epochs": 8, "batch_size": 10},
        assignments=["batch_size=11"],
    ).config
    preset = read_preset("digits")
    assert config.timesteps == preset["timesteps"]
    assert (config.lr, config.epochs, config.batch_size) == (0.5, 8, 11)


def test_a_table_for_a_rule_lies_over_its_own_file_only(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("lr = 0.5\n[for.zo]\nlr = 0.25\n[for.dfa.rule]\nmse_weight = 0.2\n")
    assert load_config("zo", source=file).lr == 0.25
    assert load_config("opzo", source=file).lr == 0.5
    assert load_config("dfa", source=file).rule.mse_weight == 0.2
    assert load_config("zo", source=file, lr=0.125).lr == 0.125


def test_every_preset_suits_every_rule():
    for preset in preset_names():
        for rule in RULES:
            loaded = resolve_config(rule, source=preset)
            assert loaded.preset == preset
            assert loaded.config.rule.name == rule
            assert loaded.config.dataset.replace(":", "-") == preset


def test_a_run_configuration_is_a_source_that_gives_itself(tmp_path):
    config = load_config(
        "opzo", dataset="mnist", lr=0.01, rule={"alpha": 0.3}, encoding="rate", optimizer="sgd"
    )
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_json()))
    again = load_config(source=file)
    assert again == config
    assert again.fingerprint() == config.fingerprint()


def test_options_of_another_rule_or_model_are_dropped_and_told(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(load_config("opzo", rule={"alpha": 0.3}).to_json()))
    loaded = resolve_config("dfa", source=file, flags={"model": "conv5"})
    assert loaded.config.rule.name == "dfa"
    assert loaded.config.model.name == "conv5"
    notes = " ".join(loaded.notes)
    assert f"rule.alpha of {file} is for rule opzo" in notes
    assert f"model.hidden of {file} is for model mlp" in notes


def test_a_file_may_name_the_rule_and_the_preset(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('rule = "ottt"\npreset = "mnist"\n')
    loaded = resolve_config(source=file)
    assert loaded.config.rule.name == "ottt"
    assert loaded.preset == "mnist"
    assert loaded.config.batch_size == read_preset("mnist")["batch_size"]


@pytest.mark.parametrize(
    ("rule", "arguments", "parts"),
    [
        ("opzoo", {}, ['"opzoo"', 'Did you mean "opzo"?']),
        (None, {}, ["Name a learning rule", "opzo"]),
        ("opzo", {"flags": {"dataset": "mnis"}}, ['"mnis"', 'Did you mean "mnist"?']),
        ("opzo", {"flags": {"model": "conv55"}}, ['"conv55"', 'Did you mean "conv5"?']),
        ("opzo", {"assignments": ["lrr=1"]}, ['"lrr"', "--set lrr=1", 'Did you mean "lr"?']),
        ("opzo", {"assignments": ["rule.alhpa=1"]}, ['"rule.alhpa"', '"rule.alpha"']),
        ("opzo", {"assignments": ["model.hiden=[1]"]}, ['"model.hiden"', '"model.hidden"']),
        ("opzo", {"assignments": ["optimizer.momentum=1"]}, ['"optimizer.momentum"', "adam"]),
        ("opzo", {"assignments": ["encoding=rates"]}, ['"rates"', '"rate"']),
        ("bptt", {"flags": {"rule": {"local_learning": True}}}, ['"rule.local_learning"', "bptt"]),
        ("opzo", {"flags": {"epochs": 0}}, ["epochs = 0", "the command line", "greater"]),
        ("opzo", {"assignments": ["lr=nan"]}, ["lr", "--set lr=nan"]),
        ("opzo", {"assignments": ["rule.noise=pink"]}, ["rule.noise = 'pink'", "gaussian"]),
        ("opzo", {"assignments": ["model=3"]}, ["model must be a name or a table", "3"]),
        ("opzo", {"source": "mnits"}, ['"mnits"', 'Did you mean "mnist"?']),
        ("opzo", {"source": "gone.toml"}, ["gone.toml", "does not exist"]),
        ("opzo", {"assignments": ["dataset_options.pad=1"]}, ["digits", '"pad"']),
    ],
)
def test_wrong_settings_name_the_key_its_source_and_the_nearest_right_one(rule, arguments, parts):
    with pytest.raises(UsageError) as caught:
        resolve_config(rule, **arguments)
    for part in parts:
        assert part in str(caught.value)


def test_a_file_that_is_not_toml_is_named(tmp_path):
    file = tmp_path / "broken.toml"
    file.write_text("lr = \n")
    with pytest.raises(ConfigError, match=r"broken\.toml is not valid TOML"):
        load_config("opzo", source=file)


def test_a_table_for_an_unknown_rule_is_refused(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[for.opzoo]\nlr = 1\n")
    with pytest.raises(ConfigError, match=r'for\.opzoo.*Did you mean "opzo"'):
        load_config("dfa", source=file)


def test_a_data_set_without_a_preset_says_so(monkeypatch):
    monkeypatch.setattr("neuro.config.load.preset_for", lambda *_: None)
    loaded = resolve_config("opzo", flags={"dataset": "mnist"})
    assert loaded.preset is None
    assert "no preset belongs to data set mnist" in loaded.notes[0]


def test_resuming_may_change_what_only_observes():
    saved = load_config("opzo")
    changed = resume_config(saved, assignments=["log_every_steps=7", "plots=false"])
    assert (changed.log_every_steps, changed.plots) == (7, False)
    assert changed.fingerprint() == saved.fingerprint()


@pytest.mark.parametrize(
    ("assignment", "part"), [("epochs=100", "schedule spans all epochs"), ("lr=0.5", "lr from")]
)
def test_resuming_refuses_what_would_change_the_weights(assignment, part):
    with pytest.raises(ConfigError, match=part):
        resume_config(load_config("opzo"), assignments=[assignment])
