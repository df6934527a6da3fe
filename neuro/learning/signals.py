"""What flows between the nodes of a network, and whether online rules can train it."""

from typing import Literal, NamedTuple

from neuro.errors import UsageError
from neuro.layers import INPUT, Add, LinearMap, Network, Spiking, Synapse


class Signal(NamedTuple):
    """``kind`` of what a node sends on, and the ``scale`` its spikes were multiplied by."""

    kind: Literal["input", "spikes", "current"]
    scale: float = 1.0


def classify_signals(network: Network) -> dict[str, Signal]:
    """Tell for every node what it sends on.

    Raises:
        UsageError: for a network that online rules cannot train: a synapse fed by a current,
            a delay, an integrating read-out, learnable neuron parameters, or mixed sums.
    """
    signals: dict[str, Signal] = {INPUT: Signal("input")}
    for name, module in network.nodes.items():
        arriving = {signals[source] for source in network.sources[name]}
        if isinstance(module, Spiking):
            if module.learnable:
                raise UsageError(
                    f"layer {name!r} learns its {', '.join(module.learnable)}: only the rule bptt "
                    "trains neuron parameters. Use bptt, or fix them."
                )
            signals[name] = Signal("spikes", module.scale)
        elif isinstance(module, Synapse):
            if any(signal.kind == "current" for signal in arriving):
                raise UsageError(
                    f"synapse {name!r} is fed by a current; online rules need spikes or the input "
                    "before each synapse. Put a spiking layer in between, or use bptt."
                )
            signals[name] = Signal("current")
        elif isinstance(module, LinearMap | Add):
            if len(arriving) > 1:
                kinds = " and ".join(sorted(f"{s.kind} (scale {s.scale:g})" for s in arriving))
                raise UsageError(f"node {name!r} adds {kinds}; online rules cannot. Use bptt.")
            signals[name] = arriving.pop()
        else:
            raise UsageError(
                f"node {name!r} is a {type(module).__name__}, which online rules cannot credit: "
                "its output depends on earlier inputs. Use bptt."
            )
    if not isinstance(network.nodes[network.output], Synapse):
        raise UsageError(f"online rules need a synapse as the last node, got {network.output!r}.")
    return signals
