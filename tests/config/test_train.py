"""The typed configuration itself."""

import pytest
from pydantic import BaseModel, ValidationError

from neuro.config import TrainConfig
from neuro.config import train as module
from neuro.config.base import OBSERVING
from neuro.encoding import ENCODINGS
from neuro.errors import ConfigError
from neuro.learning import RULES
from neuro.models import MODELS


def test_every_field_is_described():
    sections = [v for v in vars(module).values() if isinstance(v, type)]
    models = [s for s in sections if issubclass(s, BaseModel) and s.__module__ == module.__name__]
    assert TrainConfig in models
    for section in models:
        for name, field in section.model_fields.items():
            described = field.description or (name == "name" and section.__doc__)
            assert described, f"{section.__name__}.{name} has no description"


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_options_in_the_configuration(rule):
    config = TrainConfig(rule={"name": rule})
    assert type(config.rule) is RULES[rule].Options


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_options_in_the_configuration(model):
    config = TrainConfig(rule={"name": "dfa"}, model={"name": model})
    assert type(config.model) is MODELS[model].options


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_chosen_by_its_name(encoding):
    config = TrainConfig(rule={"name": "dfa"}, encoding={"name": encoding})
    assert isinstance(config.encoding, ENCODINGS[encoding])
    assert config.to_json()["encoding"]["name"] == encoding


def test_unknown_keys_are_errors_at_every_level():
    for wrong in (
        {"epoch": 3},
        {"model": {"name": "mlp", "widths": [3]}},
        {"optimizer": {"name": "sgd", "beta1": 0.5}},
        {"encoding": {"name": "rate", "gain": 1}},
    ):
        with pytest.raises(ValidationError):
            TrainConfig(rule={"name": "dfa"}, **wrong)


def test_a_configuration_is_frozen():
    config = TrainConfig(rule={"name": "dfa"})
    with pytest.raises(ValidationError):
        config.lr = 1.0


def test_json_reads_back_as_the_same_configuration():
    config = TrainConfig(
        rule={"name": "opzo", "freeze_feedback_after": 5},
        model={"name": "conv5", "width": 0.5},
        optimizer={"name": "sgd", "nesterov": True},
        encoding={"name": "latency", "form": "log"},
        gradient_clip=1.0,
        threads=3,
    )
    assert TrainConfig(**config.to_json()) == config


def test_the_fingerprint_changes_with_training_settings_alone():
    base = TrainConfig(rule={"name": "dfa"})
    assert TrainConfig(rule={"name": "dfa"}, seed=1).fingerprint() != base.fingerprint()
    assert TrainConfig(rule={"name": "dfa", "mse_weight": 0.1}).fingerprint() != base.fingerprint()
    observed = TrainConfig(rule={"name": "dfa"}, plots=False, log_every_steps=3)
    assert observed.fingerprint() == base.fingerprint()
    assert set(TrainConfig.model_fields) >= OBSERVING


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValidationError, match="nesterov needs a momentum"):
        TrainConfig(
            rule={"name": "dfa"}, optimizer={"name": "sgd", "nesterov": True, "momentum": 0}
        )


def test_an_option_that_the_data_set_lacks_is_refused():
    with pytest.raises(ConfigError, match='digits has no option "delay"'):
        TrainConfig(rule={"name": "dfa"}, dataset_options={"delay": 1})
