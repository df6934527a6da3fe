"""Time and memory of one LIF layer over a whole sequence, all contenders interleaved.

The layer: currents ``[T, B, N]`` in float32, uniform in [0, 2); ``u = v + (x - v) / 2``, a spike
where ``u >= 1``, which sets v to 0 and is a constant in backward; ATan surrogate of alpha 2. Timed
are ``forward``, without a graph, and ``forward_backward``, with the gradient of the currents alone.
Outputs are fresh in every call. Reported are median and 20th and 80th percentiles over rounds;
ratios to ours are medians over rounds of the ratio within a round.

Before anything is timed, contenders that compute the same must agree with ours in spikes and
gradients; of the others the share of equal spikes is recorded. ``saved_bytes`` is what autograd
keeps for backward, by neuron and time step. ``copy`` moves the least memory that any layer must
and computes nothing: the limit of the machine.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.command import CheckFailedError, main, say
from benchmarks.figures import draw_layers
from benchmarks.interleaved import Step, ratios, summary, take_turns
from benchmarks.peers import fused_lif
from benchmarks.records import IMAGES, RESULTS, options_given, origin, read_result, write_result
from neuro.errors import NeuroError, UsageError
from neuro.neurons import LIF
from neuro.neurons.base import Dynamics
from neuro.surrogate import ATan
from neuro.training.environment import package_version
from neuro.training.memory import tune_malloc

KIND = "layers"
OURS, LOOP, COMPILED, FUSED, COPY = (
    "neuro",
    "neuro, step by step",
    "neuro, step by step, torch.compile",
    "C++",
    "copy",
)
PEER = "SpikingJelly"
PEER_PACKAGES = ("spikingjelly", "snntorch", "norse", "sinabs")
QUANTITIES = ("forward", "forward_backward")
FUSED_LIMITS = (1.15, 1.2)
"""What ours may take of the time of the C++ loop, for each quantity."""
PEER_FACTORS = (8.0, 5.0)
"""How many times faster than SpikingJelly ours must be, for each quantity."""

SPIKE_TOLERANCE = 1e-6
"""Share of spikes: a potential within a rounding error of the threshold may tip over."""
GRADIENT_TOLERANCE = 1e-4
"""Of the largest gradient, where all spikes of a neuron are equal: other order of operations."""

SCALING_STEPS = (8, 32, 128, 512)
SCALING_NEURONS = (1_000, 10_000, 100_000, 1_000_000)
SCALING_LARGEST = 2**26
"""Neurons times steps; longer sequences of more neurons are left out."""

NEURON = LIF(decay=0.5, input_gain=0.5, reset_mode="hard", surrogate=ATan(alpha=2.0))
Layer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Contender:
    """One way to run the layer.

    Attributes:
        layer: currents to spikes, differentiable.
        same: whether it computes what ours does, so that it has to agree.
        batch_first: it takes ``[B, T, N]``.
    """

    layer: Layer
    same: bool = True
    batch_first: bool = False

    def arrange(self, sequence: Tensor) -> Tensor:
        """Return a sequence ``[T, B, N]`` in the layout of this contender, or back from it."""
        return sequence.transpose(0, 1).contiguous() if self.batch_first else sequence


def layers(
    *,
    peers: bool = False,
    scaling: bool = False,
    timesteps: int = 32,
    batch_size: int = 128,
    neurons: int = 1024,
    rounds: int = 100,
    warm_up: int = 3,
    threads: int = 2,
    results: Path | None = None,
    figure: Path | None = None,
    check: bool = False,
) -> None:
    """Time a LIF layer over a whole sequence beside other ways to run it.

    Parameters
    ----------
    peers
        Time SpikingJelly, snnTorch, Norse and Sinabs too; needs the environment that
        `make bench-peers` makes.
    scaling
        Time ours over sequence length and number of neurons too.
    timesteps
        T.
    batch_size
        B.
    neurons
        N.
    rounds
        Timed calls of each contender.
    warm_up
        Calls of each contender before.
    threads
        CPU threads.
    results
        Result file; default benchmarks/results/layers.json.
    figure
        PNG file; default docs/images/layers.png.
    check
        Time nothing; fail unless, by the result file, ours takes at most 1.15 times the C++ loop
        forward and 1.2 times with backward, and is 8 and 5 times faster than SpikingJelly.
    """
    file = results or RESULTS / "layers.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    sizes = {"timesteps": timesteps, "batch-size": batch_size, "neurons": neurons}
    for name, number in {**sizes, "rounds": rounds, "warm-up": warm_up, "threads": threads}.items():
        if number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    contenders, absent = own_contenders()
    if peers:
        contenders |= peer_contenders(compiled=FUSED in contenders)
    malloc = tune_malloc()
    torch.set_num_threads(threads)
    currents = draw_currents(timesteps, batch_size, neurons)
    options = options_given(
        layers,
        peers=peers,
        scaling=scaling,
        timesteps=timesteps,
        batch_size=batch_size,
        neurons=neurons,
        rounds=rounds,
        warm_up=warm_up,
        threads=threads,
    )
    record = {
        **origin(["python", "-m", "benchmarks.layers", *options]),
        "kind": KIND,
        "timesteps": timesteps,
        "batch_size": batch_size,
        "neurons": neurons,
        "rounds": rounds,
        "malloc": malloc.reason,
        "peers": {name: package_version(name) for name in PEER_PACKAGES} if peers else None,
        "absent": absent,
        "contenders": measure(contenders, currents, rounds, warm_up),
        "scaling": measure_scaling(rounds, warm_up) if scaling else None,
    }
    write_result(file, record)
    draw_layers(record, figure or IMAGES / "layers.png")
    for name, found in record["contenders"].items():
        times = (
            f"{found[quantity]['median_ms']:8.2f} ms "
            f"({found[quantity]['over_neuro']['median']:5.2f} of ours)"
            for quantity in QUANTITIES
        )
        print(f"{name:36}", *times)


def own_contenders() -> tuple[dict[str, Contender], dict[str, str]]:
    """Return what needs no other framework, and why the rest of it is absent here."""
    found = {
        OURS: Contender(lambda currents: NEURON.sequence(currents)[0]),
        LOOP: Contender(_loop),
        COPY: Contender(_copy, same=False),
    }
    try:
        found[FUSED] = Contender(fused_lif.layer())
    except NeuroError as error:
        return found, {FUSED: str(error), COMPILED: str(error)}
    found[COMPILED] = Contender(lambda currents: _compiled_loop()(currents))
    return found, {}


def peer_contenders(*, compiled: bool) -> dict[str, Contender]:
    """Return the layers of other frameworks, each at the settings nearest to ours.

    Args:
        compiled: also under ``torch.compile``, which needs a C++ compiler.

    Raises:
        NeuroError: one of them is not installed.
    """
    missing = [name for name in PEER_PACKAGES if package_version(name) is None]
    if missing:
        raise NeuroError(
            f"--peers needs {', '.join(missing)}. `make bench-peers` makes an environment with "
            "all of them."
        )
    from benchmarks.peers import norse_lif, sinabs_lif, snntorch_lif, spikingjelly_lif

    found = {PEER: Contender(spikingjelly_lif.layer())}
    if compiled:
        found[f"{PEER}, torch.compile"] = Contender(spikingjelly_lif.compiled_layer())
    return {
        **found,
        "snnTorch": Contender(snntorch_lif.layer()),
        "Norse": Contender(norse_lif.layer(), same=False),
        "Sinabs": Contender(sinabs_lif.layer(), batch_first=True),
    }


def draw_currents(timesteps: int, *shape: int) -> Tensor:
    """Return ``[T, ...]``, uniform in [0, 2)."""
    return torch.rand(timesteps, *shape, generator=torch.Generator().manual_seed(0)) * 2


def measure(
    contenders: Mapping[str, Contender], currents: Tensor, rounds: int, warm_up: int
) -> dict[str, dict[str, Any]]:
    """Compare all contenders with ours, then time them.

    Raises:
        CheckFailedError: one that should agree does not.
    """
    expected = learn(contenders[OURS], currents)
    found: dict[str, dict[str, Any]] = {}
    for name, contender in contenders.items():
        found[name] = compare(name, contender, currents, expected) if name != COPY else {}
        say(f"{name}: ready")
    for quantity in QUANTITIES:
        steps = {name: _step(quantity, each, currents) for name, each in contenders.items()}
        seconds = take_turns(steps, rounds, warm_up)
        for name, each in seconds.items():
            found[name][quantity] = {
                **summary([1e3 * value for value in each], "ms", 3),
                "over_neuro": ratios(each, seconds[OURS]),
            }
        say(f"{quantity}: {rounds} rounds")
    return found


def compare(
    name: str, contender: Contender, currents: Tensor, expected: tuple[Tensor, Tensor]
) -> dict[str, Any]:
    """Return how far spikes and gradients equal the expected ones, and what backward kept.

    No speed is reported of a contender that should compute the same and does not.

    Raises:
        CheckFailedError: that is so.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        spikes, gradient = learn(contender, currents)
    equal = spikes == expected[0]
    share = float(equal.double().mean())
    gap = float(((gradient - expected[1]) * equal.all(0)).abs().max() / expected[1].abs().max())
    if contender.same and 1 - share > SPIKE_TOLERANCE:
        raise CheckFailedError(f"{1 - share:.2%} of the spikes of {name!r} are not those of ours.")
    if contender.same and not gap <= GRADIENT_TOLERANCE:
        raise CheckFailedError(
            f"The gradient of {name!r} differs from ours by {gap:.2%} of the largest."
        )
    return {
        "same": contender.same,
        "equal_spikes": share,
        "gradient_gap": gap,
        "saved_bytes": round(sum(kept.values()) / currents.numel(), 3),
    }


def learn(contender: Contender, currents: Tensor) -> tuple[Tensor, Tensor]:
    """Return spikes and the gradient of the currents for ones as that of the spikes."""
    inputs = contender.arrange(currents).detach().requires_grad_()
    spikes = contender.layer(inputs)
    torch.autograd.backward(spikes, torch.ones_like(spikes))
    assert inputs.grad is not None
    return contender.arrange(spikes.detach()), contender.arrange(inputs.grad)


def measure_scaling(
    rounds: int,
    warm_up: int,
    steps: tuple[int, ...] = SCALING_STEPS,
    neurons: tuple[int, ...] = SCALING_NEURONS,
) -> list[dict[str, float]]:
    """Time forward and backward of ours by neuron and time step, over both their numbers."""
    points: list[dict[str, float]] = []
    for timesteps in steps:
        for count in neurons:
            elements = timesteps * count
            if elements > SCALING_LARGEST:
                continue
            ours = Contender(lambda currents: NEURON.sequence(currents)[0])
            step = _step("forward_backward", ours, draw_currents(timesteps, count))
            seconds = take_turns({OURS: step}, rounds, warm_up)[OURS]
            times = summary([1e9 * value / elements for value in seconds], "ns", 4)
            points.append({"timesteps": timesteps, "neurons": count, **times})
            say(f"T = {timesteps:3}, N = {count:7}: {times['median_ns']:.3f} ns")
    return points


def _step(quantity: str, contender: Contender, currents: Tensor) -> Step:
    inputs = contender.arrange(currents)
    ones = torch.ones_like(inputs)

    def forward() -> None:
        with torch.no_grad():
            contender.layer(inputs)

    def forward_backward() -> None:
        torch.autograd.backward(contender.layer(inputs.detach().requires_grad_()), ones)

    return forward if quantity == "forward" else forward_backward


def _loop(currents: Tensor) -> Tensor:
    return Dynamics.sequence(NEURON, currents)[0]


@cache  # importing the compiler takes seconds: only when this contender runs
def _compiled_loop() -> Layer:
    return torch.compile(_loop, fullgraph=True, dynamic=False)


class _Copy(torch.autograd.Function):
    """Move the memory of a layer that keeps its currents for backward."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor) -> Tensor:
        ctx.save_for_backward(currents)
        return currents.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # Reads gradients and currents, writes as much: the addition itself takes no time.
        (currents,) = ctx.saved_tensors
        return torch.add(gradients[0], currents)


def _copy(currents: Tensor) -> Tensor:
    moved: Tensor = _Copy.apply(currents)  # type: ignore[no-untyped-call]
    return moved


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, str, bool]]:
    """Yield text, ratio, its limit in words, and whether it holds."""
    contenders = record["contenders"]
    for quantity, most, least in zip(QUANTITIES, FUSED_LIMITS, PEER_FACTORS, strict=True):
        words = quantity.replace("_", " + ")
        if FUSED in contenders:
            ratio = 1 / contenders[FUSED][quantity]["over_neuro"]["median"]
            yield f"{words}: ours over the C++ loop", ratio, f"at most {most:g}", ratio <= most
        if PEER in contenders:
            ratio = contenders[PEER][quantity]["over_neuro"]["median"]
            yield f"{words}: {PEER} over ours", ratio, f"at least {least:g}", ratio >= least


def check_bars(record: dict[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold, or what it compares with was not timed.
    """
    failed = 0
    for text, ratio, limit, holds in bars_of(record):
        failed += not holds
        print(f"{text}: {ratio:.2f}, {limit}: {'holds' if holds else 'FAILS'}")
    if FUSED not in record["contenders"]:
        raise CheckFailedError(f"The C++ loop was not timed: {record['absent'][FUSED]}")
    if PEER not in record["contenders"]:
        raise CheckFailedError(f"{PEER} was not timed; run with --peers (`make bench-peers`).")
    if failed:
        raise CheckFailedError(f"{failed} bars of layers do not hold.")


if __name__ == "__main__":
    main(layers)
