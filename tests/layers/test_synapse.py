"""Synapses: the three hand-written products against autograd, and weight standardisation."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import Conv2d, Linear, ScaledWSConv2d, ScaledWSLinear, Synapse
from neuro.layers.synapse import STANDARDISATION_EPS, initialise, standardise

Case = tuple[Callable[[], Synapse], tuple[int, ...]]

CASES: dict[str, Case] = {
    "linear": (lambda: Linear(7, 5), (3, 7)),
    "linear, one by one": (lambda: Linear(1, 1), (1, 1)),
    "linear, no bias": (lambda: Linear(4, 3, bias=False), (2, 4)),
    "standardised linear": (lambda: ScaledWSLinear(6, 4), (3, 6)),
    "standardised linear, no bias": (lambda: ScaledWSLinear(6, 4, bias=False), (3, 6)),
    "conv, padded": (lambda: Conv2d(3, 4, 3, padding=1), (2, 3, 5, 7)),
    "conv, stride leaves a rest": (lambda: Conv2d(2, 3, 3, stride=2), (2, 2, 6, 8)),
    "conv, 1x1": (lambda: Conv2d(3, 2, 1), (1, 3, 1, 1)),
    "conv, stride over kernel": (lambda: Conv2d(2, 2, 1, stride=2), (1, 2, 5, 5)),
    "conv, two groups, dilated": (
        lambda: Conv2d(4, 6, 3, padding=2, dilation=2, groups=2, bias=False),
        (2, 4, 7, 5),
    ),
    "conv, oblong kernel": (lambda: Conv2d(2, 3, (3, 1), padding=(1, 0)), (2, 2, 5, 4)),
    "standardised conv": (lambda: ScaledWSConv2d(3, 4, 3, padding=1), (2, 3, 5, 5)),
    "standardised conv, stride": (
        lambda: ScaledWSConv2d(2, 5, 3, stride=2, padding=1),
        (2, 2, 7, 6),
    ),
    "standardised conv, no bias": (lambda: ScaledWSConv2d(2, 3, 2, bias=False), (1, 2, 3, 3)),
}


def build(name: str) -> tuple[Synapse, Tensor]:
    """A synapse whose every parameter (bias and gain too) is random, and activity for it."""
    make, shape = CASES[name]
    torch.manual_seed(len(name))
    synapse = make().double()
    with torch.no_grad():
        for parameter in synapse.parameters():
            parameter.normal_()
    return synapse, torch.randn(shape, dtype=torch.float64)


def test_every_synapse_has_a_case() -> None:
    kinds = {type(make()) for make, _ in CASES.values()}
    assert kinds == {Linear, Conv2d, ScaledWSLinear, ScaledWSConv2d}


@pytest.mark.parametrize("name", CASES)
def test_transmit_with_the_effective_weight_is_forward(name: str) -> None:
    synapse, activity = build(name)
    torch.testing.assert_close(
        synapse.transmit(activity, synapse.effective_weight()), synapse(activity)
    )


@pytest.mark.parametrize("kernels", ["numba", "reference", ""])
@pytest.mark.parametrize("name", CASES)
def test_event_driven_currents_and_gradients_are_the_same(
    name: str, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURO_KERNELS", kernels)
    synapse, activity = build(name)
    spikes = 0.5 * (activity >= activity.mean()).double()
    found = []
    for synapse.event_driven in (False, True):
        for current in (synapse(spikes), synapse.transmit(spikes, synapse.effective_weight())):
            gradients = torch.autograd.grad(current.square().sum(), list(synapse.parameters()))
            found.append([current, *gradients])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_transpose_moves_the_weight_across_the_inner_product(name: str) -> None:
    synapse, activity = build(name)
    weight = synapse.effective_weight().detach()
    silence = synapse.transmit(torch.zeros_like(activity), weight)  # the bias
    current = synapse.transmit(activity, weight) - silence
    delta = torch.randn_like(current)
    back = synapse.transpose(delta, weight, activity.shape)
    torch.testing.assert_close((current * delta).sum(), (activity * back).sum())


@settings(deadline=None, max_examples=40)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
)
def test_convolution_transposes_at_every_size(
    kernel: int, stride: int, padding: int, rows: int, columns: int, inputs: int, outputs: int
) -> None:
    assume(min(rows, columns) + 2 * padding >= kernel)
    torch.manual_seed(0)
    synapse = Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False).double()
    activity = torch.randn(2, inputs, rows, columns, dtype=torch.float64, requires_grad=True)
    current = synapse(activity)
    delta = torch.randn_like(current)
    to_activity, to_weight = torch.autograd.grad(current, [activity, synapse.weight], delta)
    back = synapse.transpose(delta, synapse.weight.detach(), activity.shape)
    torch.testing.assert_close(back, to_activity)
    torch.testing.assert_close(synapse.weight_gradient(delta, activity.detach()), to_weight)
    torch.testing.assert_close((current * delta).sum(), (activity * back).sum())


@pytest.mark.parametrize("name", CASES)
def test_products_are_the_gradients_that_autograd_finds(name: str) -> None:
    synapse, activity = build(name)
    activity.requires_grad_()
    weight = synapse.effective_weight().detach().requires_grad_()
    current = synapse.transmit(activity, weight)
    delta = torch.randn_like(current)
    to_weight, to_activity = torch.autograd.grad(
        current, [weight, activity], delta, retain_graph=True
    )
    with torch.no_grad():
        torch.testing.assert_close(synapse.weight_gradient(delta, activity), to_weight)
        torch.testing.assert_close(synapse.transpose(delta, weight, activity.shape), to_activity)
        if synapse.bias is not None:
            (to_bias,) = torch.autograd.grad(current, [synapse.bias], delta)
            torch.testing.assert_close(synapse.bias_gradient(delta), to_bias)


@pytest.mark.parametrize("name", CASES)
def test_weight_gradient_reaches_every_parameter_through_the_effective_weight(name: str) -> None:
    synapse, activity = build(name)
    weights = [p for n, p in synapse.named_parameters() if n != "bias"]
    current = synapse(activity)
    delta = torch.randn_like(current)
    expected = torch.autograd.grad(current, weights, delta)
    by_hand = synapse.weight_gradient(delta, activity).detach()
    found = torch.autograd.grad(synapse.effective_weight(), weights, by_hand)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_products_take_tensors_that_are_not_contiguous(name: str) -> None:
    synapse, activity = build(name)
    weight = synapse.effective_weight().detach()
    delta = torch.randn_like(synapse(activity)).detach()

    def strided(tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)

    torch.testing.assert_close(
        synapse.weight_gradient(strided(delta), strided(activity)),
        synapse.weight_gradient(delta, activity),
    )
    torch.testing.assert_close(
        synapse.transpose(strided(delta), weight, activity.shape),
        synapse.transpose(delta, weight, activity.shape),
    )


def test_event_driven_synapses_run_the_event_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    for synapse, silent in ((Linear(3, 2), (1, 3)), (Conv2d(3, 2, 1), (1, 3, 4, 4))):
        with torch.no_grad():
            synapse.weight.fill_(math.nan)
            synapse.bias.fill_(1.0)
        # a zero meets no weight there, and makes a NaN in the dense product
        assert synapse(torch.zeros(silent)).isnan().all()
        synapse.event_driven = True
        assert (synapse(torch.zeros(silent)) == 1).all()


def test_linear_current_by_hand() -> None:
    synapse = Linear(2, 1)
    with torch.no_grad():
        synapse.weight.copy_(torch.tensor([[2.0, -3.0]]))
        synapse.bias.fill_(0.5)
    assert synapse(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist() == [[-0.5], [-2.5]]


def test_standardised_weight_by_hand() -> None:
    # mean 1, unbiased variance 2, fan-in 2: divided by sqrt(2 * 2 + 1e-4).
    weight = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    found = standardise(weight, torch.full((1, 1), 3.0, dtype=torch.float64))
    unit = 3 / math.sqrt(4.0001)
    torch.testing.assert_close(found, torch.tensor([[-unit, unit]], dtype=torch.float64))


@settings(deadline=None, max_examples=40)
@given(
    outputs=st.integers(1, 4),
    inner=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    spread=st.floats(0.01, 10.0),
)
def test_standardised_units_have_mean_zero_and_variance_gain_squared_over_fan_in(
    outputs: int, inner: list[int], seed: int, spread: float
) -> None:
    fan_in = math.prod(inner)
    assume(fan_in > 1)
    generator = torch.Generator().manual_seed(seed)
    shape = (outputs, *inner)
    weight = spread * torch.randn(shape, generator=generator, dtype=torch.float64) + 1.7
    gain = torch.randn((outputs, *(1,) * len(inner)), generator=generator, dtype=torch.float64)
    found = standardise(weight, gain).flatten(1)
    raw = weight.flatten(1).var(1) * fan_in
    torch.testing.assert_close(
        found.mean(1), torch.zeros(outputs, dtype=torch.float64), rtol=0, atol=1e-12
    )
    expected = gain.flatten() ** 2 * raw / (raw + STANDARDISATION_EPS) / fan_in
    torch.testing.assert_close(found.var(1), expected)


def test_standardisation_forgets_a_shift_of_the_weights() -> None:
    weight = torch.randn(3, 8, dtype=torch.float64)
    gain = torch.ones(3, 1, dtype=torch.float64)
    torch.testing.assert_close(standardise(weight + 5.0, gain), standardise(weight, gain))


def test_standardisation_of_equal_weights_is_zero_not_nan() -> None:
    assert standardise(torch.full((2, 5), 0.3), torch.ones(2, 1)).abs().max() < 1e-5


def test_gradient_of_standardisation() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(3, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(standardise, (weight, gain))


@pytest.mark.parametrize("make", [lambda: ScaledWSLinear(1, 3), lambda: ScaledWSConv2d(1, 2, 1)])
def test_standardising_a_single_weight_is_refused(make: Callable[[], Synapse]) -> None:
    with pytest.raises(UsageError, match="fan-in"):
        make()


@pytest.mark.parametrize(
    ("synapse", "deviation"),
    [
        (Conv2d(16, 32, 3), math.sqrt(2 / (32 * 9))),  # Kaiming normal, fan-out
        (ScaledWSConv2d(16, 32, 3), math.sqrt(2 / (32 * 9))),
        (ScaledWSLinear(100, 60), 0.1),
        (Linear(100, 60), math.sqrt(2 / 100)),  # Kaiming normal, fan-in
    ],
    ids=["conv", "standardised conv", "standardised linear", "linear"],
)
def test_initial_weights_have_their_deviation_and_no_bias(
    synapse: Synapse, deviation: float
) -> None:
    initialise(synapse, torch.Generator().manual_seed(0))
    # 4608 and 6000 draws: a relative standard error of the deviation of 1 / sqrt(2n) = 1 %.
    assert synapse.weight.std().item() == pytest.approx(deviation, rel=0.05)
    assert abs(synapse.weight.mean().item()) < 5 * deviation / math.sqrt(synapse.weight.numel())
    assert synapse.bias is not None
    assert not synapse.bias.any()


def test_initial_weights_come_from_the_generator_alone() -> None:
    first, second, third = (Linear(5, 4) for _ in range(3))
    initialise(first, torch.Generator().manual_seed(3))
    torch.rand(7)
    initialise(second, torch.Generator().manual_seed(3))
    initialise(third, torch.Generator().manual_seed(4))
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, third.weight)


def test_gains_start_at_one() -> None:
    assert ScaledWSLinear(3, 2).gain.tolist() == [[1.0], [1.0]]
    assert ScaledWSConv2d(3, 2, 3).gain.flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("options", [{"padding": "same"}, {"padding_mode": "reflect"}])
def test_padding_that_the_products_do_not_know_is_refused(options: dict[str, str]) -> None:
    synapse = Conv2d(2, 2, 3, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="padding"):
        synapse(torch.zeros(1, 2, 5, 5))
