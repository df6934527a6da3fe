"""Time of a synapse driven by spikes over their density: events, the dense product, the choice.

Contenders take turns on equal operands, in float32, with fresh outputs: ``dense`` is torch's own
product, ``events`` the event kernel asked for by name, ``neuro`` what the op chooses by itself, and
``memory`` reads the spikes and writes the currents once and computes nothing: the limit of the
machine. Everything an op needs is inside its time: finding the events, counting them, transposing
the weight. Spikes are 0 or 1, drawn independently. Timed are the currents, without a graph, and for
dense synapses the gradient of the weight.

The expected crossing is that of ``neuro.kernels``' rule; the measured one is where the curve of the
events, straight between densities, meets that of the dense product.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.command import CheckFailedError, main, say
from benchmarks.figures import draw_synapses
from benchmarks.interleaved import Step, ratios, summary, take_turns
from benchmarks.records import IMAGES, RESULTS, options_given, origin, read_result, write_result
from neuro.errors import UsageError
from neuro.kernels import event_conv2d, event_linear
from neuro.kernels.density import Cost
from neuro.kernels.event_conv2d.op import forward_cost as conv2d_cost
from neuro.kernels.event_linear.op import forward_cost, weight_cost
from neuro.training.memory import tune_malloc

KIND = "synapses"
DENSE, EVENTS, OURS, MEMORY = "dense", "events", "neuro", "memory"
DENSITIES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
SPARSE = 0.02
"""Density at which events must be faster."""
SPEED_UP, SPEED_UP_CONV = 4.0, 3.0
"""How many times faster than the dense product, and than the dense convolution."""
SLOWEST = 0.9
"""What the chosen way must reach of the dense product's speed at every density."""
QUICK, MORE = 3e6, 5
"""A dense product expected to take less, in ns, is timed so many times more rounds: what else the
machine does weighs more."""
TOLERANCE = 1e-4
"""Of the largest current: sums in another order."""


@dataclass(frozen=True)
class Layer:
    """A synapse to be timed.

    Attributes:
        spikes: shape of its input.
        weight: shape of its weight; convolutions keep the sides of the plane.
        gradient: time the gradient of the weight instead of the currents.
        small: too small for the speed-up that is asked of the others.
    """

    spikes: tuple[int, ...]
    weight: tuple[int, ...]
    gradient: bool = False
    small: bool = False

    @property
    def name(self) -> str:
        """Sizes, as a person would write them."""
        sides = "".join(f" x {side}" for side in self.spikes[2:])
        kernel = f", {self.weight[2]} x {self.weight[3]}" if sides else ""
        batch, inputs = self.spikes[:2]
        what = "weight gradient, " if self.gradient else ""
        return f"{what}{batch} x {inputs}{sides} -> {self.weight[0]}{kernel}"

    @property
    def cost(self) -> Cost:
        """What the rule expects."""
        if len(self.spikes) == 4:
            return conv2d_cost(self.spikes, self.weight)
        rule = weight_cost if self.gradient else forward_cost
        rows, inputs = self.spikes
        return rule(rows, inputs, self.weight[0])


LAYERS = (
    Layer((128, 800), (800, 800)),
    Layer((1024, 800), (800, 800)),
    Layer((4096, 800), (800, 800)),
    Layer((128, 2312), (800, 2312)),
    Layer((1024, 2312), (800, 2312)),
    Layer((1024, 784), (10, 784), small=True),
    Layer((1024, 800), (800, 800), gradient=True),
    Layer((128, 2, 34, 34), (16, 2, 3, 3), small=True),
    Layer((128, 16, 32, 32), (16, 16, 3, 3)),
    Layer((128, 16, 8, 8), (16, 16, 3, 3), small=True),
    Layer((64, 32, 32, 32), (32, 32, 3, 3)),
    Layer((32, 64, 32, 32), (64, 64, 3, 3)),
    Layer((128, 64, 8, 8), (64, 64, 3, 3)),
    Layer((32, 128, 16, 16), (128, 128, 3, 3)),
    Layer((128, 128, 8, 8), (128, 128, 3, 3)),
)


def synapses(
    *,
    rounds: int = 15,
    warm_up: int = 2,
    threads: int = 2,
    results: Path | None = None,
    figure: Path | None = None,
    check: bool = False,
) -> None:
    """Time synapses from spike events beside the dense product, over density and size.

    Parameters
    ----------
    rounds
        Timed calls of each contender; five times as many of layers that take less than 3 ms.
    warm_up
        Calls of each contender before.
    threads
        CPU threads; everything is timed with one, too.
    results
        Result file; default benchmarks/results/synapses.json.
    figure
        PNG file; default docs/images/synapses.png.
    check
        Time nothing; fail unless, by the result file, ours is 4 times as fast as the dense product
        and 3 times as fast as the dense convolution at a density of 2 %, but for layers marked
        small, and nowhere slower than 0.9 of it.
    """
    file = results or RESULTS / "synapses.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    for name, number in {"rounds": rounds, "warm-up": warm_up, "threads": threads}.items():
        if number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    malloc = tune_malloc()
    counts = sorted({1, threads})
    torch.set_num_threads(threads)
    options = options_given(synapses, rounds=rounds, warm_up=warm_up, threads=threads)
    record = {
        **origin(["python", "-m", "benchmarks.synapses", *options]),
        "kind": KIND,
        "rounds": rounds,
        "malloc": malloc.reason,
        "threads": counts,
        "layers": [measure(layer, counts, rounds, warm_up) for layer in LAYERS],
    }
    write_result(file, record)
    draw_synapses(record, figure or IMAGES / "synapses.png")
    for text, ratio, limit, holds in bars_of(record):
        print(f"{text}: {ratio:.2f}, {limit}: {'holds' if holds else 'FAILS'}")


def measure(
    layer: Layer,
    threads: Sequence[int],
    rounds: int,
    warm_up: int,
    densities: Sequence[float] = DENSITIES,
) -> dict[str, Any]:
    """Compare the contenders, then time them at each density with each number of threads."""
    rounds *= MORE if layer.cost.dense < QUICK else 1
    found: dict[str, Any] = {
        "name": layer.name,
        "rounds": rounds,
        "spikes": list(layer.spikes),
        "weight": list(layer.weight),
        "gradient": layer.gradient,
        "small": layer.small,
        "expected_crossing": round(layer.cost.crossing, 4),
        "curves": {},
    }
    for count in threads:
        torch.set_num_threads(count)
        points: list[dict[str, Any]] = []
        for density in densities:
            steps = contenders(layer, density)
            seconds = take_turns(steps, rounds, warm_up, before=steps[MEMORY])
            times = {
                name: summary([1e3 * value for value in each], "ms", 4)
                for name, each in seconds.items()
            }
            over = {name: ratios(seconds[DENSE], seconds[name]) for name in (OURS, EVENTS)}
            points.append({"density": density, "times": times, "dense_over": over})
        crossing = crossing_of(points)
        found["curves"][str(count)] = {"crossing": crossing, "points": points}
        text = "none" if crossing is None else f"{100 * crossing:.0f} %"
        say(
            f"{layer.name}, {count} threads: crossing {text}, expected "
            f"{100 * layer.cost.crossing:.0f} %; dense / ours "
            + ", ".join(f"{each['dense_over'][OURS]['median']:.2f}" for each in points)
        )
    return found


def contenders(layer: Layer, density: float) -> dict[str, Step]:
    """Return one step of each contender.

    Raises:
        CheckFailedError: two that compute the same disagree.
    """
    generator = torch.Generator().manual_seed(0)
    spikes = (torch.rand(layer.spikes, generator=generator) < density).float()
    fan_in = math.prod(layer.weight[1:])
    weight = torch.randn(layer.weight, generator=generator) * fan_in**-0.5
    dense, ours = _functions(layer, spikes, weight)
    with torch.no_grad():
        expected = dense()
        for name, result in ((OURS, ours()), (EVENTS, _by_name(ours))):
            gap = float((result - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
            if not gap <= TOLERANCE:
                raise CheckFailedError(
                    f"{layer.name} at a density of {density}: {name!r} differs from the dense "
                    f"product by {gap:.2%} of the largest."
                )

    def memory() -> Tensor:
        spikes.max()
        return torch.zeros_like(expected)

    return {
        MEMORY: partial(_step, memory),
        DENSE: partial(_step, dense),
        OURS: partial(_step, ours),
        EVENTS: partial(_step, partial(_by_name, ours)),
    }


def _functions(
    layer: Layer, spikes: Tensor, weight: Tensor
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Return the dense product, and ours."""
    if layer.gradient:
        errors = torch.randn(len(spikes), len(weight), generator=torch.Generator().manual_seed(1))
        gradient = torch.ops.neuro.event_linear_weight_gradient
        return lambda: errors.t() @ spikes, lambda: gradient(errors, spikes)
    if len(layer.spikes) == 4:
        padding = layer.weight[2] // 2
        return (
            lambda: functional.conv2d(spikes, weight, padding=padding),
            lambda: event_conv2d(spikes, weight, padding=padding),
        )
    return lambda: functional.linear(spikes, weight), lambda: event_linear(spikes, weight)


@torch.no_grad()
def _step(function: Callable[[], Tensor]) -> None:
    function()


def _by_name(function: Callable[[], Tensor]) -> Tensor:
    before = os.environ.get("NEURO_KERNELS")
    os.environ["NEURO_KERNELS"] = "numba"
    try:
        return function()
    finally:
        if before is None:
            del os.environ["NEURO_KERNELS"]
        else:
            os.environ["NEURO_KERNELS"] = before


def crossing_of(points: Sequence[dict[str, Any]]) -> float | None:
    """Return the density at which events take as long as the dense product; 1 if they never do.

    None where they take longer at every density.
    """
    curve = [(each["density"], each["dense_over"][EVENTS]["median"]) for each in points]
    faster = [place for place, (_, ratio) in enumerate(curve) if ratio >= 1]
    if not faster:
        return None
    last = faster[-1]
    if last + 1 == len(curve):
        return 1.0
    (low, before), (high, after) = curve[last], curve[last + 1]
    # Times, not ratios, are straight in the density.
    share = (1 - 1 / before) / (1 / after - 1 / before)
    return round(float(low + share * (high - low)), 4)


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, str, bool]]:
    """Yield text, ratio, its limit in words, and whether it holds."""
    for layer in record["layers"]:
        for threads, curve in layer["curves"].items():
            name = f"{layer['name']}, {threads} thread{'' if threads == '1' else 's'}"
            speeds = {
                each["density"]: each["dense_over"][OURS]["median"] for each in curve["points"]
            }
            if not layer["small"]:
                ratio = speeds[SPARSE]
                least = SPEED_UP_CONV if len(layer["weight"]) == 4 else SPEED_UP
                text = f"{name}: dense over ours at {SPARSE:.0%}"
                yield text, ratio, f"at least {least:g}", ratio >= least
            ratio = min(speeds.values())
            text = f"{name}: dense over ours at worst"
            yield text, ratio, f"at least {SLOWEST:g}", ratio >= SLOWEST


def check_bars(record: dict[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold.
    """
    failed = 0
    for text, ratio, limit, holds in bars_of(record):
        failed += not holds
        print(f"{text}: {ratio:.2f}, {limit}: {'holds' if holds else 'FAILS'}")
    if failed:
        raise CheckFailedError(f"{failed} bars of synapses do not hold.")


if __name__ == "__main__":
    main(synapses)
