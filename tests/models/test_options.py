"""Neuron options: what each field makes of a layer."""

import math

import pytest
import torch

from neuro.errors import UsageError
from neuro.models import MLP, build_model
from neuro.models.options import SPIKE_GAIN, NeuronOptions
from neuro.neurons import LIF
from neuro.surrogate import SURROGATES


def lif(**choices: object) -> LIF:
    neuron = NeuronOptions(**choices).spiking_layer().neuron  # type: ignore[arg-type]
    assert isinstance(neuron, LIF)
    return neuron


def test_defaults_are_the_neuron_of_ottt() -> None:
    layer = NeuronOptions().spiking_layer()
    assert layer.neuron == LIF()
    assert layer.scale == SPIKE_GAIN == 2.74


def test_decay_follows_tau_and_its_rule() -> None:
    assert lif(tau=4.0).decay == 0.75
    assert lif(tau=4.0, decay_rule="exponential").decay == pytest.approx(math.exp(-0.25))


def test_neuron_fields_reach_the_neuron() -> None:
    neuron = lif(threshold=0.7, reset="hard", detach_reset=False, inclusive=False)
    assert (neuron.threshold, neuron.reset_mode) == (0.7, "hard")
    assert (neuron.detach_reset, neuron.inclusive) == (False, False)


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_can_be_chosen(name: str) -> None:
    assert type(lif(surrogate=name).surrogate) is SURROGATES[name]


def test_spikes_are_not_scaled_without_standardisation() -> None:
    assert NeuronOptions(norm="none").spiking_layer().scale == 1.0


def test_each_layer_learns_a_decay_of_its_own() -> None:
    network = build_model(MLP(hidden=(4, 3), learn_decay=True), (2,), 2)
    decays = [layer.neuron.decay for layer in network.neuron_nodes.values()]
    assert all(isinstance(decay, torch.Tensor) and decay.requires_grad for decay in decays)
    rows = {row.name: row.parameters for row in network.describe()}
    assert rows["lif1"] == rows["lif2"] == 1


def test_a_time_constant_below_one_step_is_refused() -> None:
    with pytest.raises(UsageError, match="tau"):
        NeuronOptions(tau=0.5).spiking_layer()


@pytest.mark.parametrize(
    ("field", "wrong", "meant"),
    [
        ("norm", "weight-standardized", "weight-standardised"),
        ("surrogate", "sigmoyd", "sigmoid"),
        ("reset", "sofft", "soft"),
        ("decay_rule", "eular", "euler"),
    ],
)
def test_a_misspelt_choice_says_which_is_nearest(field: str, wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"{field}.*{wrong}.*Did you mean \"{meant}\""):
        MLP(**{field: wrong})  # type: ignore[arg-type]
