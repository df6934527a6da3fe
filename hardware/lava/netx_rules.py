"""What netx would refuse, lose or change of a graph: all it says of most of that is nothing."""

from collections.abc import Iterator

import numpy as np

from neuro.errors import UsageError
from neuro.hardware.integer_graph import Connection, Convolution, IntegerGraph, Integers
from neuro.hardware.lava.chain import Layer, folded, layers, matrix
from neuro.hardware.lava.validate import (
    Finding,
    reset_findings,
    stored,
    weight_findings,
    where,
)

BIAS_EXP = 6
"""Exponent that netx gives to every bias."""
LONGEST_DELAY = 62
"""Longer ones become this."""


def netx_findings(graph: IntegerGraph) -> list[Finding]:
    """Return what netx would refuse, lose or change of a graph.

    Raises:
        UsageError: it is no chain of layers.
    """
    chain = layers(graph)
    found: list[Finding] = []
    before: Layer | None = None
    for layer in chain:
        found += _neuron_findings(layer)
        if isinstance(layer.forward.synapses, Convolution):
            found += _convolution_findings(layer, before)
        else:
            found += _dense_findings(layer, graph)
        before = layer
    for layer in chain:
        found += reset_findings(layer.population, graph.steps)
    return [*found, *_start_findings(chain)]


def _neuron_findings(layer: Layer) -> Iterator[Finding]:
    neuron, place = layer.population.cuba, where(layer.population)

    def finding(rule: str, message: str) -> Finding:
        return Finding(rule=rule, where=place, message=message)

    if neuron.vth_low is not None:
        yield finding("netx-ternary", "netx has no neurons that send -1.")
    ranges = {"du": (-1, 4095), "dv": (0, 4096), "vth": (0, 131071)}
    for name, (low, high) in ranges.items():
        value = getattr(neuron, name)
        if value.min() < low or value.max() > high:
            yield finding(
                "register", f"{name} of {value.min()} to {value.max()}, not {low}..{high}."
            )
    bias = neuron.bias
    mantissa = bias >> BIAS_EXP
    if (bias % (1 << BIAS_EXP)).any():
        yield finding("netx-bias", "netx takes biases in units of weights: multiples of 64.")
    elif mantissa.min() < -4096 or mantissa.max() > 4095:
        yield finding("netx-bias", f"a bias of {bias.min()} to {bias.max()} needs over 13 bits.")
    if isinstance(layer.forward.synapses, Convolution) and bias.ndim:
        spread = np.broadcast_to(bias, layer.population.shape)
        if (spread != spread[:, :1, :1]).any():
            yield finding("netx-bias", "netx takes one bias for each channel of a convolution.")


def _convolution_findings(layer: Layer, before: Layer | None) -> Iterator[Finding]:
    connection, place = layer.forward, where(layer.forward)
    if connection.delay.any():
        yield Finding(
            rule="netx-convolution-delay",
            where=place,
            message="netx ignores the delays of a convolution.",
        )
    if layer.recurrent is not None:
        yield Finding(
            rule="netx-recurrent",
            where=where(layer.recurrent),
            message="netx knows recurrent synapses of dense layers alone.",
        )
    if before is not None and not isinstance(before.forward.synapses, Convolution):
        yield Finding(
            rule="netx-convolution-after-dense",
            where=place,
            message="netx takes a dense layer's output as flat, and a convolution cannot read it.",
        )
    whole = folded(connection)
    if whole is None:
        yield _exponent_finding(connection)
    else:
        yield from weight_findings(whole)


def _dense_findings(layer: Layer, graph: IntegerGraph) -> Iterator[Finding]:
    connections = [layer.forward, *([layer.recurrent] if layer.recurrent else [])]
    matrices = []
    for connection in connections:
        if isinstance(connection.synapses, Convolution):
            yield Finding(
                rule="netx-recurrent",
                where=where(connection),
                message="netx knows dense recurrent synapses alone.",
            )
            return
        delay = connection.delay
        if delay.size and (delay.min() < 0 or delay.max() > LONGEST_DELAY):
            yield Finding(
                rule="delay",
                where=where(connection),
                message=f"delays of {delay.min()} to {delay.max()}; netx has 0..{LONGEST_DELAY}.",
            )
        if layer.recurrent is not None and delay.any():
            yield Finding(
                rule="netx-recurrent-delay",
                where=where(connection),
                message=(
                    "netx gives one set of delays to the synapses into a recurrent layer and to "
                    "those within it, and forgets the weights' exponent."
                ),
            )
        if folded(connection) is None:
            yield _exponent_finding(connection)
            return
        try:
            matrices.append(matrix(connection, graph)[0])
        except UsageError as error:
            yield Finding(rule="netx-sparse", where=where(connection), message=str(error))
            return
    yield from _matrix_findings(matrices, where(layer.forward))


def _exponent_finding(connection: Connection) -> Finding:
    return Finding(
        rule="negative-exponent",
        where=where(connection),
        message=(
            f"weights that 2^{-connection.weight_exponent} does not divide; netx chooses the "
            "exponent itself, so it is put into the weights."
        ),
    )


def _matrix_findings(matrices: list[Integers], place: str) -> Iterator[Finding]:
    """Find weights that netx and then Lava's Dense do not bring through whole."""

    def finding(rule: str, message: str) -> Finding:
        return Finding(rule=rule, where=place, message=message)

    together = np.hstack(matrices)
    low, high = int(together.min(initial=0)), int(together.max(initial=0))
    if low == high == 0:
        yield finding("netx-zero-weights", "all weights are 0, of which netx takes the logarithm.")
        return
    if low < -256 or high > 255 or (low < 0 and high > 254):
        yield finding("weight-range", f"weights from {low} to {high}; a synapse has -256..254.")
        return
    left, bits = _netx_format(together)
    if bits > 8:
        yield finding(
            "odd-weights",
            f"odd weights between {low} and {high} of both signs need 9 bits; a synapse has 8. "
            "Round them to even numbers.",
        )
        return
    for block in matrices:
        if not np.array_equal(stored(block << left, bits), block << left):
            yield finding(
                "netx-negative-power",
                f"no positive weight, and the least is {block.min()}: netx makes -256 of it, Lava "
                "-255. Scale the weights so that the least is no power of two.",
            )


def _netx_format(weight: Integers) -> tuple[int, int]:
    """Return by how much netx shifts weights to the left, and how many bits it gives them.

    It fills the eight bits of a mantissa, and takes off those that are 0 in all weights.
    """
    low, high = int(weight.min()), int(weight.max())
    mixed = int(low < 0 <= high)
    room = [limit / each for limit, each in ((127 if mixed else 255, high),) if each > 0]
    room += [limit / each for limit, each in ((-128 if mixed else -256, low),) if each < 0]
    left = int(np.floor(np.log2(min(room)))) + mixed
    zeros = next(count for count in range(8, -1, -1) if not (weight % (1 << count)).any())
    return left, 8 - left - (zeros - mixed)


def _start_findings(chain: list[Layer]) -> Iterator[Finding]:
    first = chain[0].population.cuba
    for place, layer in enumerate(chain):
        neuron = layer.population.cuba
        expected = None if first.start is None else first.start + place
        if (neuron.start, neuron.interval) != (expected, first.interval):
            yield Finding(
                rule="netx-start",
                where=where(layer.population),
                message=(
                    f"zeroed before step {neuron.start}; netx zeroes each layer one step after the "
                    f"one before it, here {expected}, or none of them."
                ),
            )
