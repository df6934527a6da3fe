"""The registry of architectures, and what holds for every one of them."""

import pytest
import torch

from neuro.errors import UsageError
from neuro.layers import Network
from neuro.models import (
    MLP,
    MODELS,
    Conv5,
    Conv9,
    ModelOptions,
    ResNet18,
    build_model,
    model_entry,
)

SMALL: dict[str, ModelOptions] = {
    "mlp": MLP(hidden=(12, 9)),
    "conv5": Conv5(width=1 / 32),
    "conv9": Conv9(width=1 / 32),
    "resnet18": ResNet18(width=1 / 32),
}

WIDER: dict[str, ModelOptions] = {
    "mlp": MLP(hidden=(64, 64)),
    "conv5": Conv5(width=1 / 8),
    "conv9": Conv9(width=1 / 8),
    "resnet18": ResNet18(width=1 / 8),
}


def build(name: str, seed: int = 0) -> Network:
    return build_model(SMALL[name], (2, 8, 8), 4, torch.Generator().manual_seed(seed))


def test_every_model_has_a_case() -> None:
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_name_in_the_options_is_the_name_in_the_registry(name: str) -> None:
    assert MODELS[name].options().name == name
    assert type(SMALL[name]) is MODELS[name].options
    assert MODELS[name].description


@pytest.mark.parametrize("name", MODELS)
def test_a_model_maps_images_to_logits_at_every_step(name: str) -> None:
    network = build(name)
    logits, _ = network.sequence(torch.rand(3, 5, 2, 8, 8))
    assert logits.shape == (3, 5, 4)
    assert network.classes == 4
    assert network.input_shape == (2, 8, 8)


@pytest.mark.parametrize("name", MODELS)
def test_weights_come_from_the_generator_alone(name: str) -> None:
    first = build(name, seed=5).state_dict()
    torch.rand(3)
    second, third = build(name, seed=5).state_dict(), build(name, seed=6).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_generator_the_global_seed_decides(name: str) -> None:
    torch.manual_seed(2)
    first = build_model(SMALL[name], (2, 8, 8), 4).state_dict()
    torch.manual_seed(2)
    second = build_model(SMALL[name], (2, 8, 8), 4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", MODELS)
def test_readout_starts_small_and_without_bias(name: str) -> None:
    readout = build(name).nodes["readout"]
    assert readout.weight.abs().max().item() < 0.06  # N(0, 0.01)
    assert readout.weight.abs().max().item() > 0
    assert not readout.bias.any()


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_fires_at_the_start(name: str) -> None:
    """Smooth images, as natural ones are: white noise would average away in the pooling."""
    coarse = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    images = torch.nn.functional.interpolate(coarse, 32, mode="bilinear")
    network = build_model(WIDER[name], (2, 32, 32), 4, torch.Generator().manual_seed(0))
    rates = network.run([images / images.std()] * 5).firing_rates
    assert list(rates) == list(network.neuron_nodes)
    assert all(5e-4 < float(rate) < 0.6 for rate in rates.values()), rates


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    network = build(name)
    logits, _ = network.sequence(torch.randn(3, 4, 2, 8, 8))
    torch.nn.functional.cross_entropy(logits.mean(0), torch.tensor([0, 1, 2, 3])).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name


def test_an_unknown_model_says_which_is_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'conv55'.*Did you mean \"conv5\""):
        model_entry("conv55")


def test_options_are_frozen() -> None:
    options = MLP()
    with pytest.raises(AttributeError):
        options.tau = 3.0  # type: ignore[misc]
