"""The way of the errors within one time step of an online rule, and what it takes.

It follows :func:`neuro.learning.pass_through.propagate` node by node. Credit that comes straight
from the output is kept as its factors there (``SentBack``), and multiplied out by each one that
needs the numbers: where two do, the product is made twice, and counted twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from neuro.energy.training.parts import Tally, map_adjoint
from neuro.layers import LinearMap, Network, Spiking, Synapse
from neuro.learning.signals import classify_signals

Credit = Literal["written", "factors"]


@dataclass(frozen=True)
class Arriving:
    """An error: a tensor, or the factors of one made for the neurons of ``layer``."""

    layer: str | None = None


class ErrorPath:
    """Counts one step of one sample.

    Args:
        network: that online rules can train.
        credit: what comes straight to layers, and whether it is written out.
        exact: whether errors go down through transposed synapses.
        transposed: products of a synapse with an error, per sample.

    Attributes:
        tally: operations, by layer.
        reached: synapses that get an error.
    """

    def __init__(
        self,
        network: Network,
        credit: Mapping[str, Credit],
        *,
        exact: bool,
        transposed: Callable[[str], float],
    ) -> None:
        self.tally = Tally()
        self.reached: set[str] = set()
        self._network, self._credit = network, credit
        self._signals = classify_signals(network)
        self._shapes = {"input": network.input_shape, **network.shapes}
        self._errors: dict[str, Arriving] = {network.output: Arriving()}
        for name in reversed(list(network.nodes)):
            self._visit(name, exact, transposed)

    def _visit(self, name: str, exact: bool, transposed: Callable[[str], float]) -> None:
        module, sources = self._network.nodes[name], self._network.sources[name]
        arrived = self._errors.pop(name, None)
        if isinstance(module, Spiking):
            self._through_neurons(name, module, arrived)
        elif arrived is None:
            return
        elif isinstance(module, Synapse):
            self.reached.add(name)
            self._write_out(arrived)
            if exact and self._signals[sources[0]].kind != "input":
                products, inputs = transposed(name), prod(self._shapes[sources[0]])
                self.tally.add(
                    name,
                    macs=products,
                    weight_reads=products,
                    activation_reads=prod(self._shapes[name]),
                    activation_writes=inputs,
                )
                self._add(sources[0], Arriving())
        elif isinstance(module, LinearMap):
            self._write_out(arrived)
            given, sent = self._shapes[sources[0]], self._shapes[name]
            self.tally.add(name, columns=map_adjoint(module, given, sent))
            self._add(sources[0], Arriving())
        else:
            for source in sources:
                self._add(source, arrived)

    def _through_neurons(self, name: str, layer: Spiking, arrived: Arriving | None) -> None:
        own = self._credit.get(name)
        if own is None and arrived is None:
            return
        source = self._network.sources[name][0]
        if own == "factors" and arrived is None:
            self._add(source, Arriving(name))
            return
        neurons = prod(self._shapes[name])
        if arrived is not None:
            self._write_out(arrived)
            if layer.scale != 1:
                self.tally.add(name, multiplications=neurons)
            if own is not None:
                self.tally.add(name, additions=neurons)
            if own == "factors":
                self._product(name)
        self.tally.add(name, neurons, multiplications=1, activation_reads=2, activation_writes=1)
        self._add(source, Arriving())

    def _add(self, source: str, error: Arriving) -> None:
        if self._signals[source].kind == "input":
            return
        before = self._errors.get(source)
        if before is not None:
            self._write_out(before)
            self._write_out(error)
            self.tally.add(
                source,
                prod(self._shapes[source]),
                additions=1,
                activation_reads=2,
                activation_writes=1,
            )
            error = Arriving()
        self._errors[source] = error

    def _write_out(self, error: Arriving) -> None:
        """Multiply out feedback, error and derivative."""
        if error.layer is None:
            return
        self._product(error.layer)
        neurons = prod(self._shapes[error.layer])
        self.tally.add(error.layer, neurons, multiplications=1, activation_reads=1)
        self.tally.add(error.layer, activation_writes=neurons)

    def _product(self, layer: str) -> None:
        """``M e`` with a row of M for each neuron."""
        neurons, outputs = prod(self._shapes[layer]), self._network.classes
        self.tally.add(
            layer, macs=neurons * outputs, weight_reads=neurons * outputs, activation_reads=outputs
        )
