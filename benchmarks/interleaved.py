"""Contenders in one process that take turns, so that whatever else the machine does falls on all.

In every round each contender takes one step, in an order drawn anew, so that none always follows
the one that leaves the caches or the heap in the worst state. Ratios are taken within a round.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

Step = Callable[[], None]


def take_turns(
    contenders: Mapping[str, Step], rounds: int, warm_up: int, before: Step | None = None
) -> dict[str, list[float]]:
    """Return the seconds of each contender's step in each round, after untimed ones.

    Args:
        contenders: by name.
        rounds: timed steps of each.
        warm_up: untimed steps of each.
        before: done untimed before each timed step, so that all find the caches alike.
    """
    for _ in range(warm_up):
        for step in contenders.values():
            step()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    order, dice = list(contenders), random.Random(0)
    for _ in range(rounds):
        dice.shuffle(order)
        for name in order:
            if before is not None:
                before()
            started = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def summary(values: Sequence[float], unit: str, digits: int = 2) -> dict[str, float]:
    """Return median, 20th and 80th percentile and least value, the unit in their names."""
    low, middle, high = np.percentile(values, [20, 50, 80])
    found = {"median": middle, "p20": low, "p80": high, "min": min(values)}
    return {f"{name}_{unit}": round(float(value), digits) for name, value in found.items()}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return median, 20th and 80th percentile of ours over theirs, round by round."""
    found = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    low, high = np.percentile(found, [20, 80])
    return {
        "median": round(median(found), 4),
        "p20": round(float(low), 4),
        "p80": round(float(high), 4),
    }
