"""Products of training, by every rule, against those that torch really makes."""

import pytest

from neuro.energy.training.cost import training_cost
from neuro.learning import RULES
from tests.energy.networks_in_training import NETWORKS, deep, inputs_of, macs_of_torch, matrix_macs


@pytest.fixture
def in_torch(monkeypatch):
    """Let every kernel be plain torch, whose products torch counts.

    Its counter is a dispatch mode, which otherwise gets each kernel as one operation.
    """
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    monkeypatch.setattr("neuro.kernels.unrecorded._is_watched", lambda: False)


VARIANTS = [
    ("bptt", {}),
    ("bptt", {"recompute": True}),
    ("ottt", {}),
    ("ottt", {"update": "online"}),
    ("ottt", {"local_learning": True}),
    ("dfa", {}),
    ("dfa", {"feedback_delay": 2}),
    ("dfa", {"feedback_grid": 1}),
    ("dfa", {"local_learning": True, "local_weight": 0.5, "feedback_delay": 1}),
    ("dkp", {}),
    ("dkp", {"feedback_grid": 1}),
    ("dkp", {"feedback_block": (1,), "local_learning": True, "update": "online"}),
    ("zo", {}),
    ("zo", {"noise_at": "pre", "antithetic": False}),
    ("zo", {"noise": "sphere", "local_learning": True}),
    ("opzo", {}),
    ("opzo", {"feedback_update": "per_pair", "centre_logits": True}),
    ("opzo", {"feedback_rule": "delta", "feedback_grid": 2, "bias_correction": True}),
    ("opzo", {"update": "online", "feedback_delay": 1}),
    ("opzo", {"freeze_feedback_after": 0, "intermediate_learning": True}),
    ("opzo", {"intermediate_learning": True}),
    ("opzo", {"intermediate_learning": True, "noise_at": "pre", "feedback_order": "after"}),
    (
        "opzo",
        {
            "intermediate_learning": True,
            "local_learning": True,
            "feedback_rule": "delta",
            "feedback_delay": 1,
            "inverse_alpha": "keep",
        },
    ),
    (
        "opzo",
        {
            "intermediate_learning": True,
            "local_learning": True,
            "feedback_grid": 1,
            "feedback_update": "per_pair",
            "noise": "rademacher",
        },
    ),
    ("opzo", {"intermediate_learning": True, "update": "online", "noise": "sphere"}),
]


def compare(network, steps, rule, settings):
    options = RULES[rule].Options(**settings)
    cost = training_cost(network, steps, options, zeros="multiplied")
    after = (lambda: None) if settings.get("update") == "online" else None
    assert matrix_macs(cost) == macs_of_torch(network, steps, options, after)


@pytest.mark.parametrize("constant", [True, False], ids=["image", "frames"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("rule", "settings"), VARIANTS)
def test_products_are_those_that_torch_makes(rule, settings, name, constant, in_torch):
    network = NETWORKS[name]()
    compare(network, inputs_of(network, constant=constant), rule, settings)


@pytest.mark.parametrize("timesteps", [1, 3])
@pytest.mark.parametrize(("rule", "settings"), VARIANTS)
def test_so_they_are_at_odd_steps_of_three_layers(rule, settings, timesteps, in_torch):
    network = deep()
    compare(network, inputs_of(network, constant=False)[:timesteps], rule, settings)
