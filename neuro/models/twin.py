"""The network without time that a spiking one is compared with: its twin of rectifiers.

Same nodes, shapes, synapses (standardised ones too), pooling and sums; a rectifier stands where
neurons fired, and one step is all there is. In networks with scaled weight standardisation, whose
spikes carry a gain that keeps signals at unit variance, rectifiers carry theirs,
``sqrt(2 / (1 - 1/pi))`` (Brock et al., "Characterizing signal propagation to close the performance
gap in unnormalized ResNets", ICLR 2021).
"""

import copy
from math import pi, sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuro.errors import UsageError, nearest
from neuro.layers import INPUT, Delay, Network, Node, ReadoutIntegrator, Spiking, Synapse
from neuro.layers.low_bits import Quantiser, Rectifier, low_bit

RECTIFIER_GAIN = sqrt(2 / (1 - 1 / pi))
INPUT_BITS = 8
BASELINES = ("ann-fp32", "ann-int8", "qnn")


class Bits(NamedTuple):
    """Of weights and of activations; None for 32-bit floats."""

    weights: int | None
    activations: int | None


def ann_twin(
    network: Network, *, weight_bits: int | None = None, activation_bits: int | None = None
) -> Network:
    """Return the twin of a spiking network, with copies of its weights.

    With ``weight_bits`` every synapse's effective weight is rounded, symmetrically, with a step for
    each output channel; biases, which are added to sums, are not. With ``activation_bits`` each
    rectifier gives 0 to ``2^b - 1`` steps, one step a layer, and what the network is fed is rounded
    to 8 bits with a sign, or to more where activations have more. Steps are learnt
    (:class:`neuro.layers.low_bits.Quantiser`); :func:`fit_steps` starts them.

    Delays and integrating read-outs do nothing within a single step and are left out.

    Args:
        network: left as it is.
        weight_bits: >= 2, since weights have signs; None for floats.
        activation_bits: >= 1; None for floats.

    Raises:
        UsageError: too few bits, a synapse that has no form of few bits, or nothing but delays.
    """
    places = {INPUT: INPUT}
    nodes: list[Node] = []
    if activation_bits is not None:
        places[INPUT] = _unused("rounded_input", network)
        rounded = Quantiser(max(INPUT_BITS, activation_bits), signed=True)
        nodes.append(Node(places[INPUT], rounded, (INPUT,)))
    for name, module in network.nodes.items():
        sources = tuple(places[source] for source in network.sources[name])
        if isinstance(module, Delay | ReadoutIntegrator):
            (places[name],) = sources
            continue
        places[name] = name
        nodes.append(Node(name, _timeless(name, module, weight_bits, activation_bits), sources))
    twin = Network(nodes, network.input_shape)
    parameter = next(network.parameters(), None)
    return twin if parameter is None else twin.to(parameter.device)


def baseline_bits(name: str, timesteps: int) -> Bits:
    """Return the bits of a baseline.

    ``ann-fp32`` has none, ``ann-int8`` 8 of both. ``qnn`` matches a spiking network of T steps: a
    count of spikes is one of ``T + 1`` numbers, for which ``b = ceil(log2(T + 1))`` bits are enough
    (Yan et al., "Reconsidering the energy efficiency of spiking neural networks", arXiv
    2409.08290). That settles activations; weights, of which the paper leaves the bits open, get b
    as well, but at least the 2 that a sign needs.

    Args:
        name: one of :data:`BASELINES`; ``qnn-3bit`` is ``qnn`` where b is 3.
        timesteps: T >= 1.

    Raises:
        UsageError: no such baseline.
    """
    if timesteps < 1:
        raise UsageError(f"a spiking network runs for at least one time step, got {timesteps}.")
    bits = timesteps.bit_length()  # ceil(log2(T + 1))
    if name == "ann-fp32":
        return Bits(None, None)
    if name == "ann-int8":
        return Bits(8, 8)
    if name in ("qnn", f"qnn-{bits}bit"):
        return Bits(max(2, bits), bits)
    raise UsageError(
        f'There is no baseline "{name}" of {timesteps} time steps.{nearest(name, BASELINES)} '
        f"There are: {', '.join(BASELINES)}."
    )


def baseline_name(name: str, timesteps: int) -> str:
    """Return the name a baseline is kept under: ``qnn`` tells its bits, ``qnn-3bit``."""
    bits = baseline_bits(name, timesteps).activations
    return f"qnn-{bits}bit" if name.startswith("qnn") else name


def baseline_network(network: Network, name: str, timesteps: int) -> Network:
    """Return a baseline of a spiking network, untrained, to be trained or to be counted.

    Args:
        network: left as it is; weights are copies of its own.
        name, timesteps: as for :func:`baseline_bits`.
    """
    bits = baseline_bits(name, timesteps)
    return ann_twin(network, weight_bits=bits.weights, activation_bits=bits.activations)


@torch.no_grad()
def fit_steps(twin: Network, inputs: Tensor) -> None:
    """Fit every step to what it rounds when the network sees ``inputs`` ``(B, *input_shape)``.

    Layers go in order, so that each step is fitted to what rounded layers before it send.
    """

    def fit(quantiser: nn.Module, arguments: tuple[Tensor]) -> None:
        assert isinstance(quantiser, Quantiser)
        quantiser.fit(*arguments)

    steps = [module for module in twin.modules() if isinstance(module, Quantiser)]
    hooks = [quantiser.register_forward_pre_hook(fit) for quantiser in steps]
    try:
        twin.run([inputs])
    finally:
        for hook in hooks:
            hook.remove()


def _timeless(
    name: str, module: nn.Module, weight_bits: int | None, activation_bits: int | None
) -> nn.Module:
    if isinstance(module, Spiking):
        gain = 1.0 if module.scale == 1 else RECTIFIER_GAIN
        return Rectifier(gain=gain, bits=activation_bits)
    if isinstance(module, Synapse) and weight_bits is not None:
        try:
            return low_bit(module, weight_bits)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    return copy.deepcopy(module)


def _unused(name: str, network: Network) -> str:
    while name in network.nodes:
        name += "_"
    return name
