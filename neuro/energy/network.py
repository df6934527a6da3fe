"""Operations of a network on real inputs, counted while it runs.

Nothing is computed twice: the network takes its steps, and of what each node sends on only the
numbers that are not 0 are counted, by position where a fan-out depends on it. See
:mod:`neuro.energy.streams` for what is declared to be spikes, :mod:`neuro.energy.fan_out` for what
they cost, and :mod:`neuro.energy.neuron_counts` for neurons.
"""

from collections.abc import Mapping, Sequence

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


@torch.no_grad()
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
    if not steps:
        raise UsageError("a network is counted over at least one time step, got none.")
    constant = len(steps) > 1 and all(x is steps[0] for x in steps)
    weights = network.effective_weights()
    surroundings = Surroundings.of(network, known_signal(signal, "count_network"), constant)
    carried = surroundings.streams
    counters = _counters(network, surroundings, weights, others)
    wrong: dict[str, Amount] = {}
    state = network.initial_state(len(steps[0]), steps[0].device)
    tallies = [Tally() for _ in range(len(steps) if per_step else 1)]
    for number, x in enumerate(steps):
        values, state = network.advance(x, state, weights)
        sent = Sent(values, carried)
        if not (number and constant):
            sent.examine(INPUT)
        tally = tallies[number if per_step else 0]
        for name, counter in counters.items():
            if not (number and carried[name].constant):
                tally.add(name, counter.count(sent))
        for origin, found in sent.contradictions.items():
            wrong[origin] = wrong.get(origin, 0) + found
    for origin, total in wrong.items():
        stream = carried[origin]
        where = "the network's input" if origin == INPUT else origin
        refuse(int(total), stream.signal, where, stream.unit)
    facts = {name: counter.facts() for name, counter in counters.items()}
    driven = frozenset(name for name, counter in counters.items() if counter.driven)
    batch = len(steps[0])
    by_step = [Ledger(_counted(tally, facts), driven, facts, samples=batch) for tally in tallies]
    if not per_step:
        return Ledger(by_step[0].layers, driven, facts, batch, len(steps))
    layers = {name: sum((step.layers[name] for step in by_step), Counts()) for name in facts}
    return Ledger(layers, driven, facts, batch, len(steps), tuple(by_step))


def _counters(
    network: Network,
    surroundings: Surroundings,
    weights: Weights,
    others: CountModule | None,
) -> dict[str, NodeCounter]:
    """Return what counts each node.

    Raises:
        UsageError: modules that nothing counts, all of them listed.
    """
    unknown = [
        f"{name} ({type(module).__name__})"
        for name, module in network.nodes.items()
        if not (isinstance(module, KNOWN) or without_arithmetic(name, module))
    ]
    if unknown and others is None:
        raise UsageError(
            f"nothing is known of the operations of {', '.join(unknown)}. Use layers of "
            "neuro.layers, or give a function that counts such modules."
        )
    return {
        name: counter_of(surroundings, name, weights.get(name), others) for name in network.nodes
    }


def _counted(tally: Tally, facts: Mapping[str, Facts]) -> dict[str, Counts]:
    """Return the counts of every node, in the order of the network."""
    numbers = tally.numbers()
    return {name: Counts(**numbers.get(name, {})) for name in facts}
