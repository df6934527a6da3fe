"""Operations of a network on real inputs, counted while it runs.

Nothing is computed twice: the network takes its steps, and of what each node sends on only the
numbers that are not 0 are counted, by position where a fan-out depends on it. See
:mod:`neuro.energy.streams` for what is declared to be spikes, :mod:`neuro.energy.fan_out` for what
they cost, and :mod:`neuro.energy.neuron_counts` for neurons.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.energy.counts import Counts, Facts, Ledger
from neuro.energy.node_counts import CountModule, NodeCounter, counter_of
from neuro.energy.sent import Amount, Sent, Tally
from neuro.energy.signals import Signal, known_signal, refuse
from neuro.energy.streams import KNOWN, Surroundings, without_arithmetic
from neuro.errors import UsageError
from neuro.layers import INPUT, Network
from neuro.layers.network import Weights


class CountedReadout(NamedTuple):
    """What a network did and said.

    ``logits``: ``(B, m)``, mean over time steps, as of :meth:`neuro.layers.Network.run`.
    """

    ledger: Ledger
    logits: Tensor


def count_network(
    network: Network,
    steps: Sequence[Tensor],
    *,
    signal: Signal = "real",
    per_step: bool = False,
    others: CountModule | None = None,
) -> Ledger:
    """Run a network over T steps and count what every node does.

    - Spikes through a synapse are additions (AC), one for each target they reach; real inputs are
      multiply-accumulates (MAC), also where they happen to be 0; of graded events each is a MAC for
      each target.
    - An input that is the same tensor at every step makes one current, as direct encoding has it:
      what depends on it alone is counted at the first step, and its facts say ``constant``.
    - Weights are those that act: standardisation, gains, pools and scales that an export folds into
      them count nothing, and the facts of such nodes say ``folded``.
    - Biases are counted apart, one addition an output and step.

    Args:
        network: in evaluation mode.
        steps: T inputs ``(B, *input_shape)``.
        signal: what the input is declared to be; values are checked against it.
        per_step: also keep a ledger of each step.
        others: counts modules that are no part of this package; without, they are refused.

    Returns:
        Counts summed over samples and steps, by node.

    Raises:
        UsageError: no steps; values that contradict what they are declared to be; a module or a
            neuron whose operations are not known.
    """
    return count_readout(network, steps, signal=signal, per_step=per_step, others=others).ledger


@torch.no_grad()
def count_readout(
    network: Network,
    steps: Sequence[Tensor],
    *,
    signal: Signal = "real",
    per_step: bool = False,
    others: CountModule | None = None,
) -> CountedReadout:
    """Count as :func:`count_network` does, and return what the network says, too."""
    if not steps:
        raise UsageError("a network is counted over at least one time step, got none.")
    constant = len(steps) > 1 and all(x is steps[0] for x in steps)
    weights = network.effective_weights()
    around = Surroundings.of(network, known_signal(signal, "count_network"), constant)
    counters = _counters(around, weights, others)
    wrong: dict[str, Amount] = {}
    tallies = [Tally() for _ in range(len(steps) if per_step else 1)]
    state = network.initial_state(len(steps[0]), steps[0].device)
    total: Tensor | None = None
    for number, x in enumerate(steps):
        values, state = network.advance(x, state, weights)
        logits = values[network.output]
        total = logits if total is None else total + logits
        sent = Sent(values, around.streams)
        if number == 0 or not constant:
            sent.examine(INPUT)
        for name, counter in counters.items():
            if number == 0 or not around.streams[name].constant:
                tallies[number if per_step else 0].add(name, counter.count(sent))
        for origin, found in sent.contradictions.items():
            wrong[origin] = wrong.get(origin, 0) + found
    _refuse_wrong(around, wrong)
    assert total is not None
    facts = {name: counter.facts() for name, counter in counters.items()}
    driven = frozenset(name for name, counter in counters.items() if counter.driven)
    ledger = _ledger(tallies, facts, driven, len(steps[0]), len(steps), per_step)
    return CountedReadout(ledger, total / len(steps))


def _ledger(
    tallies: Sequence[Tally],
    facts: Mapping[str, Facts],
    driven: frozenset[str],
    samples: int,
    timesteps: int,
    per_step: bool,
) -> Ledger:
    """Return the sums as a ledger, with one of each step if tallies are of steps."""
    by_step = [_counted(tally, facts) for tally in tallies]
    layers = {name: sum((step[name] for step in by_step), Counts()) for name in facts}
    steps = tuple(Ledger(step, driven, facts, samples) for step in by_step)
    return Ledger(layers, driven, facts, samples, timesteps, steps if per_step else ())


def _refuse_wrong(around: Surroundings, wrong: Mapping[str, Amount]) -> None:
    """Raise if values were not what they are declared to be."""
    for origin, number in wrong.items():
        stream = around.streams[origin]
        where = "the network's input" if origin == INPUT else origin
        refuse(int(number), stream.signal, where, stream.unit)


def _counters(
    around: Surroundings, weights: Weights, others: CountModule | None
) -> dict[str, NodeCounter]:
    """Return what counts each node.

    Raises:
        UsageError: modules that nothing counts, all of them listed.
    """
    unknown = [
        f"{name} ({type(module).__name__})"
        for name, module in around.network.nodes.items()
        if not (isinstance(module, KNOWN) or without_arithmetic(name, module))
    ]
    if unknown and others is None:
        raise UsageError(
            f"nothing is known of the operations of {', '.join(unknown)}. Use layers of "
            "neuro.layers, or give a function that counts such modules."
        )
    return {
        name: counter_of(around, name, weights.get(name), others) for name in around.network.nodes
    }


def _counted(tally: Tally, facts: Mapping[str, Facts]) -> dict[str, Counts]:
    """Return the counts of every node, in the order of the network."""
    numbers = tally.numbers()
    return {name: Counts(**numbers.get(name, {})) for name in facts}
