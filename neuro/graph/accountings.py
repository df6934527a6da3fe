"""Ways to account for the energy of spikes on a graph beside NBFNet, from the simplest to the
counted one.

The abstract of Xiao et al., "Temporal Spiking Neural Networks with Synaptic Delay for Graph
Reasoning", ICML 2024, states a theoretical saving of 20 times. Which accounting gave it is not
public, so all plausible ones stand here side by side. In the closed forms, with N nodes, E edges
(inverses included), d neurons a node, T steps, L layers of NBFNet and a firing rate f = spikes /
(N d T), a dense synapse count S takes each edge's linear map for its own.
"""

from dataclasses import dataclass

from neuro.energy import Counts, Ledger

CLAIM = 20.0
"""How many times less energy than its counterpart without spikes, by the abstract."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of a graph and of what runs on it: N, E, d, T, L."""

    nodes: int
    edges: int
    hidden: int
    timesteps: int
    layers: int


@dataclass(frozen=True)
class Accounting:
    """One way to count both networks' operations for a query.

    Attributes:
        name: short, for tables.
        words: what is counted.
        spiking: operations of GRSNN.
        other: operations of NBFNet.
    """

    name: str
    words: str
    spiking: Ledger
    other: Ledger


def dense_synapses(sizes: Sizes) -> int:
    """Return ``S = E d d``: on each edge every neuron of one node reaches every one of the other.

    The released network has one link for each neuron of an edge and one linear map after the sum,
    so S is far above the additions that happen; publications on spiking networks count so.
    """
    return sizes.edges * sizes.hidden**2


def spiking_formula(sizes: Sizes, firing_rate: float, *, leaks: bool = False) -> Ledger:
    """Return ``f T S`` additions, the usual closed form of a spiking network.

    Source: E = 0.9 pJ f T S, with the constants of Horowitz, ISSCC 2014.

    Args:
        sizes: N, E, d, T.
        firing_rate: f.
        leaks: also count ``2 N d T`` multiply-accumulates, for the leak of current and membrane.
    """
    layers = {
        "synapses": Counts(synaptic_additions=firing_rate * sizes.timesteps * dense_synapses(sizes))
    }
    if leaks:
        updates = sizes.nodes * sizes.hidden * sizes.timesteps
        layers["neurons"] = Counts(neuron_updates=updates, macs=2 * updates)
    return Ledger(layers, frozenset({"synapses"}))


def layered_formula(sizes: Sizes, *, pna: bool, additions: bool = False) -> Ledger:
    """Return ``L (E d + N w d d)`` multiply-accumulates of NBFNet, w = 13 with PNA, else 2.

    Products of messages and the linear map of each node: Zhu et al., NeurIPS 2021, equations 3 to
    5 and section 3.3.

    Args:
        sizes: N, E, d, L.
        pna: PNA's twelve statistics and a node's own features enter the linear map; else a sum.
        additions: also count ``L E d`` additions, for the sums of messages.
    """
    messages = sizes.layers * sizes.edges * sizes.hidden
    nodes = sizes.layers * sizes.nodes * (13 if pna else 2) * sizes.hidden**2
    return Ledger(
        {
            "messages": Counts(macs=messages, additions=messages if additions else 0),
            "linear": Counts(macs=nodes),
        }
    )


def published_accountings(sizes: Sizes, firing_rate: float) -> list[Accounting]:
    """Return the accountings by closed forms, for one query."""
    synapses = dense_synapses(sizes)
    spiking = spiking_formula(sizes, firing_rate)
    honest = spiking_formula(sizes, firing_rate, leaks=True)
    return [
        Accounting(
            "same synapses",
            "f T S additions beside S multiply-accumulates in one pass",
            spiking,
            Ledger({"synapses": Counts(macs=synapses)}),
        ),
        Accounting(
            f"same synapses, {sizes.layers} layers",
            "f T S additions beside L S multiply-accumulates",
            spiking,
            Ledger({"synapses": Counts(macs=sizes.layers * synapses)}),
        ),
        Accounting(
            "S beside NBFNet with PNA",
            "f T S additions beside L (E d + 13 N d d) multiply-accumulates",
            spiking,
            layered_formula(sizes, pna=True),
        ),
        Accounting(
            "S beside NBFNet with sums",
            "f T S additions beside L (E d + 2 N d d) multiply-accumulates",
            spiking,
            layered_formula(sizes, pna=False),
        ),
        Accounting(
            "S and leaks beside NBFNet with PNA",
            "f T S additions and 2 N d T multiply-accumulates beside L (E d + 13 N d d) "
            "multiply-accumulates and L E d additions",
            honest,
            layered_formula(sizes, pna=True, additions=True),
        ),
        Accounting(
            "S and leaks beside NBFNet with sums",
            "f T S additions and 2 N d T multiply-accumulates beside L (E d + 2 N d d) "
            "multiply-accumulates and L E d additions",
            honest,
            layered_formula(sizes, pna=False, additions=True),
        ),
    ]


def counted_accountings(released: Ledger, skipping: Ledger, other: Ledger) -> list[Accounting]:
    """Return the accountings by counted operations, means of a query.

    Args:
        released: GRSNN's operations, the linear map at every node and step.
        skipping: the same, the linear map where something was heard.
        other: NBFNet's operations.
    """
    return [
        Accounting(
            "counted, as released",
            "all arithmetic of both; links of one neuron to one, W after the sum, at every node "
            "and step",
            released,
            other,
        ),
        Accounting(
            "counted, silence skipped",
            "the same, but W only for what is not zero; NBFNet skips no zero",
            skipping,
            other,
        ),
    ]
