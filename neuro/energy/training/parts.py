"""Operations of the pieces that training is made of, each read off the code that does it."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from math import prod

from torch import Tensor, nn

from neuro.energy.counting.neuron_counts import neuron_cost
from neuro.energy.counts import Counts, Ledger
from neuro.errors import UsageError
from neuro.layers import Add, AvgPool2d, Flatten, GlobalAvgPool2d, Scale, Spiking, Synapse
from neuro.neurons import AdaptiveLIF

Columns = Mapping[str, float]

_SURROGATES: dict[str, Columns] = {
    "sigmoid": {"multiplications": 3, "additions": 2, "functions": 2},
    "atan": {"multiplications": 2, "additions": 1, "functions": 1},
    "triangle": {"multiplications": 1, "additions": 1, "comparisons": 1},
    "rectangle": {"multiplications": 1, "comparisons": 1},
    "fast_sigmoid": {"multiplications": 2, "additions": 1, "functions": 1},
    "gaussian": {"multiplications": 2, "additions": 1, "functions": 1},
}

GAUSSIAN: Columns = {"functions": 2, "multiplications": 1}
"""Of a number: two need a logarithm, a root, a sine and a cosine (Box and Muller)."""


class Tally:
    """Counts by layer in the making."""

    def __init__(self) -> None:
        self._layers: dict[str, defaultdict[str, float]] = {}

    def add(
        self, name: str, times: float = 1, columns: Columns | None = None, **more: float
    ) -> None:
        """Add each column so many times."""
        layer = self._layers.setdefault(name, defaultdict(float))
        for column, number in [*(columns or {}).items(), *more.items()]:
            layer[column] += number * times

    def ledger(self, samples: int, timesteps: int) -> Ledger:
        """Return them; layers to which nothing happened are left out."""
        layers = {
            name: Counts(**columns)
            for name, columns in self._layers.items()
            if any(columns.values())
        }
        return Ledger(layers, samples=samples, timesteps=timesteps)


def surrogate_derivative(layer: Spiking, where: str) -> Columns:
    """Return what ``psi(u - threshold)`` of a neuron takes, the difference included.

    Raises:
        UsageError: a surrogate whose formula is not known here.
    """
    name = layer.neuron.surrogate.kernel_name
    if name is None:
        raise UsageError(
            f"{where}: the operations of the surrogate {type(layer.neuron.surrogate).__name__} are "
            f"not known; those of {', '.join(_SURROGATES)} are."
        )
    columns = Counter(_SURROGATES[name])
    columns["additions"] += 1
    gain = layer.neuron.current_gain
    if isinstance(gain, Tensor) or gain != 1:
        columns["multiplications"] += 1
    return columns


def neuron_backward(layer: Spiking, where: str) -> tuple[Columns, Columns]:
    """Return what going back through a step of a neuron takes: always, and if it fired.

    The surrogate apart; the forward step, which backward repeats, is in it.
    """
    neuron = layer.neuron
    again = neuron_cost(neuron, where)
    always: Counter[str] = Counter(
        decays=2 * again.decays, additions=again.additions, comparisons=again.comparisons
    )
    fired: Counter[str] = Counter(resets=again.resets)
    # error of the spike through the surrogate, added to that of the potential
    always.update({"multiplications": 1, "additions": 1})
    soft = neuron.reset_mode == "soft"
    if not soft:
        fired["resets"] += 1
    if not neuron.detach_reset:
        always["macs"] += 1
        always["additions"] += 0 if soft else 1
    if len(neuron.filters) > 1:
        always["additions"] += 1  # errors of potential and current meet
    if isinstance(neuron, AdaptiveLIF):
        always["macs"] += 2  # of the spike by the adaptation, of the adaptation by the bar
        if soft and neuron.subtract_adaptation:
            fired["additions"] += 1
    if layer.scale != 1:
        always["multiplications"] += 1
    if layer.learnable:
        always.update({"macs": 2, "additions": 1})
    state = again.state
    always.update({"state_reads": 2 * state, "state_writes": 2 * state})
    always.update({"activation_reads": 2, "activation_writes": 1})
    return always, fired


def map_forward(module: nn.Module, given: tuple[int, ...], sent: tuple[int, ...]) -> Columns:
    """Return what a map between layers takes of real numbers, for a sample and step.

    Raises:
        UsageError: a module that is no such map.
    """
    outputs = prod(sent)
    if isinstance(module, Flatten):
        return {}
    if isinstance(module, Scale):
        return {"multiplications": outputs}
    if isinstance(module, AvgPool2d):
        return {"additions": outputs * (module.size**2 - 1), "multiplications": outputs}
    if isinstance(module, GlobalAvgPool2d):
        return {"additions": prod(given) - outputs, "multiplications": outputs}
    raise UsageError(
        f"the operations of a {type(module).__name__} are not known in training; those of Flatten, "
        "Scale, AvgPool2d and GlobalAvgPool2d are."
    )


def map_adjoint(module: nn.Module, given: tuple[int, ...], sent: tuple[int, ...]) -> Columns:
    """Return what carrying an error back through a map takes: copies cost no arithmetic."""
    return {
        "multiplications": map_forward(module, given, sent).get("multiplications", 0),
        "activation_reads": prod(sent),
        "activation_writes": prod(given),
    }


def add_forward(module: Add, branches: int, sent: tuple[int, ...]) -> Columns:
    """Return what a sum takes, for a sample and step."""
    return {"additions": (branches - 1) * prod(sent)}


def output_error(classes: int) -> Columns:
    """Return what ``e[t] = dL[t]/do`` of a sample takes, over the batch size too.

    ::

        softmax       m comparisons less 1, m differences, m exponentials, m - 1 sums, 1 reciprocal
        e             (1 - beta) (p - y) + 2 beta / m (o - y), over T, over B
    """
    m = classes
    return {
        "comparisons": m - 1,
        "functions": m + 1,
        "additions": 5 * m - 1,
        "multiplications": 5 * m,
        "activation_reads": m,
        "activation_writes": m,
    }


def output_loss(classes: int) -> Columns:
    """Return what ``L[t]`` and :func:`output_error` of a sample take, what both need once.

    ::

        L             (1 - beta) (log sum exp - o_y) + beta mean (o - y)^2, over T
    """
    columns = Counter(output_error(classes))
    columns.update({"functions": 1, "additions": 3, "multiplications": 4, "macs": classes})
    return columns


def standardisation(synapse: Synapse) -> tuple[Columns, Columns]:
    """Return what making and differentiating a standardised weight takes; nothing for others."""
    if not hasattr(synapse, "gain"):
        return {}, {}
    weights, rows = synapse.weight.numel(), len(synapse.weight)
    forward = {
        "additions": 2 * weights + rows,
        "macs": weights,
        "multiplications": 2 * weights + 2 * rows,
        "functions": 2 * rows,
        "weight_reads": weights + rows,
        "state_writes": weights,
    }
    backward = {
        "additions": 2 * weights,
        "macs": 2 * weights,
        "multiplications": weights + 3 * rows,
        "state_reads": 2 * weights,
        "state_writes": weights + rows,
    }
    return forward, backward
