"""Forward passes that multiply: where spikes are noisy, or where every product is made."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

from neuro.energy.counts import Counts, Ledger
from neuro.energy.training.batch import Batch
from neuro.energy.training.parts import add_forward, map_forward
from neuro.layers import Add, Spiking, Synapse


def dense_forward(batch: Batch, forward: Ledger) -> Ledger:
    """Return a forward pass in which every product is made."""

    def dense(name: str) -> Counts | None:
        synapse = batch.network.nodes[name]
        if not isinstance(synapse, Synapse):
            return None
        return _real_synapse(batch, name, batch.transposed(name), forward.layers[name])

    return _with_changes(forward, dense)


def noisy_forward(batch: Batch, forward: Ledger) -> Ledger:
    """Return a forward pass in which neurons send real numbers: spikes and noise."""

    def noisy(name: str) -> Counts | None:
        module, sources = batch.network.nodes[name], batch.network.sources[name]
        if isinstance(module, Spiking) or name in batch.fed_by_input:
            return None
        if isinstance(module, Synapse):
            return _real_synapse(batch, name, batch.transposed(name), forward.layers[name])
        if batch.signals[name] == "real":
            return None  # currents stay what they are
        given, sent = batch.shapes[sources[0]], batch.shapes[name]
        columns = (
            add_forward(module, len(sources), sent)
            if isinstance(module, Add)
            else map_forward(module, given, sent)
        )
        rounds = batch.samples * batch.timesteps
        moved = {"activation_reads": len(sources) * prod(given), "activation_writes": prod(sent)}
        return Counts(**{n: each * rounds for n, each in {**columns, **moved}.items()})

    return _with_changes(forward, noisy)


def _real_synapse(batch: Batch, name: str, products: float, before: Counts) -> Counts:
    """Return the counts of a synapse whose every input is a number to multiply."""
    steps = 1 if batch.is_constant(name) else batch.timesteps
    rounds = batch.samples * steps
    outputs, inputs = batch.ends(name)[1], batch.ends(name)[0]
    return Counts(
        macs=products * rounds,
        bias_additions=before.bias_additions,
        weight_reads=products * rounds + before.bias_additions,
        activation_reads=prod(inputs) * rounds,
        activation_writes=prod(outputs) * rounds,
    )


def _with_changes(ledger: Ledger, changed: Callable[[str], Counts | None]) -> Ledger:
    layers = {name: changed(name) or counts for name, counts in ledger.layers.items()}
    driven = frozenset(name for name in ledger.driven if layers[name] is ledger.layers[name])
    return replace(ledger, layers=layers, driven=driven, steps=())
