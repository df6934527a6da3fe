"""Whatever a run may be configured to do in training is counted."""

from dataclasses import fields

import pytest
import torch

from neuro.config import load_config
from neuro.energy.training.cost import training_cost
from neuro.energy.training.optimiser import NORMS
from neuro.errors import UsageError
from neuro.learning import RULES
from neuro.learning.rule import RuleOptions
from neuro.models import MLP, MODELS, build_model
from neuro.models.options import NeuronOptions
from neuro.reports import CountOptions
from neuro.reports.beside import optimiser_of, training_costs
from neuro.reports.run import count
from neuro.surrogate import SURROGATES
from tests.energy.networks_in_training import convolutional, inputs_of
from tests.export.conftest import run

__all__ = ["run"]

OTHER = {
    "update": "online",
    "local_learning": True,
    "feedback_block": (2,),
    "feedback_grid": 1,
    "feedback_delay": 1,
    "feedback_decay": 0.0,
    "centre_activity": False,
    "recompute": True,
    "noise": "rademacher",
    "noise_at": "pre",
    "antithetic": False,
    "bias_correction": True,
    "feedback_rule": "delta",
    "feedback_update": "per_pair",
    "freeze_feedback_after": 0,
    "centre_logits": True,
    "intermediate_learning": True,
}
"""Options that decide how much is done."""

NO_MATTER = {
    "mse_weight": 0.5,
    "local_weight": 0.5,  # of read-outs that are not there
    "feedback_scale": 2.0,
    "feedback_lr_scale": 2.0,
    "alpha": 0.1,
    "feedback_momentum": 0.5,
    "feedback_ramp": 7,
    "inverse_alpha": "keep",
    "feedback_order": "after",
}
"""Numbers that take the place of others, and orders of the same work."""

CASES = [
    (rule, option.name)
    for rule, kind in RULES.items()
    for option in fields(kind.Options)
    if option.name != "name"
]


@pytest.mark.parametrize(("rule", "option"), CASES)
def test_every_option_of_every_rule_is_counted(rule, option):
    network = convolutional()
    steps = inputs_of(network, constant=False)
    matters = option in OTHER
    chosen = {**OTHER, **NO_MATTER}[option]
    options = RULES[rule].Options()
    assert getattr(options, option) != chosen
    plain = training_cost(network, steps, options).to_json()
    other = training_cost(network, steps, RULES[rule].Options(**{option: chosen})).to_json()
    assert (plain != other) == matters


@pytest.mark.parametrize("noise", ["gaussian", "sphere"])
def test_a_sphere_costs_more_than_a_cloud(noise):
    network = convolutional()
    steps = inputs_of(network, constant=False)
    cost = training_cost(network, steps, RULES["opzo"].Options(noise=noise))
    assert (cost.phases["noise"].total.macs > 0) == (noise == "sphere")


NEURONS = {
    "tau": [4.0],
    "decay_rule": ["exponential"],
    "threshold": [0.5],
    "reset": ["hard"],
    "detach_reset": [False],
    "inclusive": [False],
    "surrogate": list(SURROGATES),
    "learn_decay": [True],
    "norm": ["none"],
}


@pytest.mark.parametrize("option", [field.name for field in fields(NeuronOptions)])
def test_every_kind_of_neuron_that_a_model_may_have_is_counted(option):
    for chosen in NEURONS[option]:
        options = MLP(hidden=(6, 5), **{option: chosen})
        network = build_model(options, (4,), 3, torch.Generator().manual_seed(0))
        steps = [torch.rand(2, 4)] * 2
        for rule in RULES:
            if option == "learn_decay" and rule != "bptt":  # nor does it train
                with pytest.raises(UsageError, match="only the rule bptt"):
                    training_cost(network, steps, rule)
            else:
                assert training_cost(network, steps, rule).total.macs > 0


@pytest.mark.parametrize("rule", RULES)
def test_a_readout_alone_is_counted_at_one_step(rule):
    network = build_model(MLP(hidden=()), (4,), 3, torch.Generator().manual_seed(0))
    cost = training_cost(network, [torch.rand(2, 4)], rule)
    assert cost.phases["weight gradients"].total.macs == 2 * 4 * 3


@pytest.mark.parametrize("model", MODELS)
def test_all_read_outs_of_every_model_are_counted(model):
    options = {"mlp": {"hidden": (8, 6)}}.get(model, {"width": 1 / 32})
    network = build_model(
        MODELS[model].options(**options), (3, 16, 16), 5, torch.Generator().manual_seed(0)
    )
    x = torch.randn(2, 3, 16, 16)
    rule = RULES["opzo"].Options(local_learning=True, intermediate_learning=True)
    found = training_cost(network, [x] * 2, rule).phases["read-outs"].layers
    assert len(found) == len(network.neuron_nodes) + 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("adam", 0.0, False, None)),
        ({"optimizer": {"name": "adam", "weight_decay": 0.1}}, ("adam", 0.1, False, None)),
        ({"optimizer": {"name": "adamw"}, "gradient_clip": 2.0}, ("adamw", 0.01, False, 2.0)),
        (
            {"optimizer": {"name": "sgd", "momentum": 0.5, "nesterov": True}},
            ("sgd", 0.0, True, None),
        ),
    ],
)
def test_a_run_says_how_its_optimiser_steps(settings, expected):
    config = load_config("ottt", **settings)
    found = optimiser_of(config)
    assert (found.name, found.weight_decay, found.nesterov, found.gradient_clip) == expected
    if found.name == "sgd":
        assert found.momentum == 0.5
        plain = optimiser_of(load_config("ottt", optimizer={"name": "sgd", "momentum": 0.0}))
        assert plain.moments == 0


def test_a_report_counts_what_the_run_is_configured_to_do(run):
    counted = count(run, CountOptions(samples=8))
    session = counted.session
    rule = type(session.config.rule)(local_learning=True)
    optimizer = session.config.optimizer.model_copy(update={"weight_decay": 0.1})
    settings = {"gradient_clip": 1.0, "rule": rule, "optimizer": optimizer}
    plain = training_costs(counted)
    session.config = session.config.model_copy(update=settings)
    found = training_costs(counted)
    for name, cost in found.items():
        limits = cost.phases["optimiser"].layers[NORMS]
        assert limits.comparisons == plain[name].phases["optimiser"].layers[NORMS].comparisons + 2
        step = cost.phases["optimiser"].layers["readout"]
        before = plain[name].phases["optimiser"].layers["readout"]
        # of each number: a product with the limit, one with the decay
        assert step.multiplications - before.multiplications == 2 * (12 * 10 + 10)
        assert step.additions - before.additions == 12 * 10 + 10
        assert ("read-outs" in cost.phases) == (name == rule.name)


def test_a_rule_from_elsewhere_is_refused():
    network = convolutional()
    with pytest.raises(UsageError, match="rule with RuleOptions; those of bptt, ottt"):
        training_cost(network, inputs_of(network, constant=True), RuleOptions())
