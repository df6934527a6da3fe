"""Variance of gradients and alignment of credit, by layer, during training.

All rules are measured at the same weights, along one reference run that BP (``ottt``) trains. The
feedback matrices of ``opzo`` and ``dkp`` are kept up to date along that run by ``learn`` on every
batch. At chosen steps weights and feedback stand still, and K minibatches are drawn, each with
noise of its own. With ``G_k`` the gradient of a weight matrix of n entries from the k-th of them::

    mean                 G = sum_k G_k / K
    total variance       V = sum_k |G_k - G|^2 / (K - 1)          (trace of the covariance)
    variance             V / n                                    per weight
    mean_square          max(|G|^2 - V / K, 0) / n                unbiased for |E G_k|^2 / n
    relative_variance    V / (|G|^2 - V / K)                      None if above K: lost in noise
    noise_variance       V / n over K noises on the first minibatch alone; 0 without noise
    gradient_cosine      mean_k <G_k, B_k> / (|G_k| |B_k|)        B_k: BP's on the same minibatch

``credit_cosine`` is the mean over minibatches and time steps of the cosine between the error a
layer is assigned and the exact one, both at the same noise. By construction it is 1 for BP.

OPZO is measured with 1/alpha kept and the zero start of M corrected, so that its gradients are in
BP's units; its default, without 1/alpha, multiplies every hidden gradient by alpha. Zeroth order
keeps 1/alpha too. The scale of DFA and DKP is arbitrary: compare their cosines and relative
variance.

Random feedback gets better as the forward weights adapt to it, which they do only in a run of its
own. So each rule is also measured along a run that it trains itself (``own``).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cells import Cell
from benchmarks.command import main, say
from benchmarks.figures import draw_gradients
from benchmarks.grid import CLASSIFICATION
from benchmarks.grids import find_grid
from benchmarks.records import IMAGES, RESULTS, options_given, origin, write_result
from benchmarks.trajectory import RULE_OPTIONS, FixedBatch, Trajectory, unchanged
from neuro.config import TrainConfig
from neuro.data import load_dataset
from neuro.errors import UsageError
from neuro.learning import CreditProbe, OnlineRule
from neuro.training.seeds import generator_for

KIND = "gradients"
REFERENCE = "ottt"
FOLLOWERS = ("opzo", "dfa", "dkp", "zo")
NOISY = ("opzo", "zo")
FIRST_POINT = 10
SIGNIFICANT_DIGITS = 5


def gradients(
    grid: str = "mnist",
    /,
    *,
    data_dir: Path | None = None,
    epochs: int | None = None,
    max_steps: int | None = None,
    points: int = 8,
    batches: int = 20,
    seed: int = 0,
    threads: int = 1,
    reference_only: bool = False,
    results: Path | None = None,
    figure: Path | None = None,
) -> None:
    """Measure gradients during training and draw them.

    Parameters
    ----------
    grid
        Data, network and learning rates: mnist, cifar10, or another grid with images.
    data_dir
        Folder with the data; default the download folder.
    epochs
        Length of each run; default that of the grid.
    max_steps
        Stop each run after this many batches.
    points
        How many times to measure in each run, from step 10 on, at even ratios.
    batches
        K, minibatches at each point.
    seed
        Of weights, batches and noise.
    threads
        CPU threads.
    reference_only
        Leave out the runs that each rule trains itself.
    results
        Result file; default benchmarks/results/gradients.json, gradients-GRID.json but for mnist.
    figure
        PNG file; default docs/images/ and the name of the result file.
    """
    chosen = find_grid(grid)
    if chosen.task is not CLASSIFICATION:
        raise UsageError(
            f"Grid {grid} trains no learning rules, whose gradients could be compared."
        )
    if points < 1 or batches < 2:
        raise UsageError(f"--points must be >= 1 and --batches >= 2, got {points} and {batches}.")
    torch.set_num_threads(threads)
    stem = "gradients" if grid == "mnist" else f"gradients-{grid}"
    dataset = load_dataset(chosen.dataset, data_dir=data_dir)
    settings = ["device=cpu"] if epochs is None else ["device=cpu", f"epochs={epochs}"]

    def follow(leader: str, followers: tuple[str, ...]) -> Trajectory:
        options = [f"rule.{key}={json.dumps(v)}" for key, v in RULE_OPTIONS.get(leader, {}).items()]
        cell = Cell(chosen, chosen.variant(leader), seed, (*settings, *options))
        config = cell.config()
        assert isinstance(config, TrainConfig), "learning rules have no other"
        return Trajectory(config, followers, dataset)

    reference = follow(REFERENCE, FOLLOWERS)
    measured = measure_run(reference, points, batches, max_steps)
    alone: dict[str, Any] = {}
    for rule in () if reference_only else FOLLOWERS:
        alone[rule] = measure_run(follow(rule, (REFERENCE,)), points, batches, max_steps)
        for point in alone[rule]:
            del point["rules"][REFERENCE]
    length = reference.session.config.epochs
    options = options_given(
        gradients,
        data_dir=data_dir,
        epochs=epochs,
        max_steps=max_steps,
        points=points,
        batches=batches,
        seed=seed,
        threads=threads,
        reference_only=reference_only,
    )
    network = reference.session.network
    record = {
        **origin(["python", "-m", "benchmarks.gradients", grid, *options]),
        "kind": KIND,
        "title": chosen.title,
        "dataset": chosen.dataset,
        "epochs": length,
        "batch_size": reference.session.config.batch_size,
        "batches": batches,
        "seed": seed,
        "reference": REFERENCE,
        "rules": [REFERENCE, *FOLLOWERS],
        "hidden_layers": [
            {"synapse": network.sources[name][0], "neurons": name} for name in network.neuron_nodes
        ],
        "points": measured,
        "own": alone,
    }
    file = results or RESULTS / f"{stem}.json"
    write_result(file, record)
    draw_gradients(record, figure or IMAGES / f"{stem}.png")


def measure_run(
    run: Trajectory, points: int, batches: int, max_steps: int | None
) -> list[dict[str, Any]]:
    """Train along a trajectory and measure all its rules at some steps."""
    last = min(run.total_steps, max_steps or run.total_steps)
    wanted = measuring_steps(last, points)
    found = []
    for done, loss in run.steps():
        if done in wanted:
            found.append({"step": done, "loss": loss, "rules": measure(run, done, batches)})
            say(f"run of {run.leader}: measured at step {done} of {last}")
        if done == last:
            break
    return found


def measuring_steps(last: int, points: int) -> list[int]:
    """Return up to ``points`` steps from 10 (or ``last``) to ``last``, at even ratios."""
    first = min(FIRST_POINT, last)
    if points == 1:
        return [last]
    ratio = last / first
    return sorted({round(first * ratio ** (k / (points - 1))) for k in range(points)})


def measure(run: Trajectory, step: int, batches: int) -> dict[str, Any]:
    """Measure all rules of a trajectory at its present weights, which stay as they are."""
    session = run.session
    rules = run.rules
    names = sorted(rules, key=lambda name: name != REFERENCE)  # BP first: others compare with it
    statistics = {name: RuleStatistics() for name in names}
    size = session.config.batch_size
    drawn = generator_for(session.config.seed, "measure", step)
    train = session.partition.train
    first: FixedBatch | None = None
    for number in range(batches):
        chosen = train[torch.randint(len(train), (size,), generator=drawn)]
        batch = FixedBatch(session, chosen, step, number, augment=False)
        first = first or batch
        exact: dict[str, Tensor] = {}
        for name in names:
            rule = rules[name]
            rule.probe = CreditProbe.empty()
            gradient = gradient_of(rule, batch, name)
            statistics[name].add(gradient, exact or gradient, rule.probe.cosines())
            rule.probe = None
            exact = exact or gradient
    for name in names:
        if name in NOISY and first is not None:
            for number in range(batches):
                statistics[name].add_noise(gradient_of(rules[name], first, name, 1 + number))
    return {name: statistics[name].record() for name in names}


def gradient_of(rule: OnlineRule, batch: FixedBatch, purpose: str, *draw: int) -> dict[str, Tensor]:
    """Return the gradient of every weight matrix from one batch; rule and network stay as is."""
    network = rule.network
    network.zero_grad()
    with unchanged(rule):
        batch.learn(rule, f"measured {purpose}", *draw)
    found = {}
    for name, synapse in network.synapse_nodes.items():
        gradient = synapse.weight.grad
        found[name] = torch.zeros_like(synapse.weight) if gradient is None else gradient.clone()
    network.zero_grad()
    return found


class Moments:
    """Mean and total variance of tensors of one shape, one pass (Welford), in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares = 0.0

    def add(self, value: Tensor) -> None:
        value = value.detach().double()
        self.count += 1
        if self._mean is None:
            self._mean = value.clone()
            return
        gap = value - self._mean
        self._mean += gap / self.count
        self._squares += float((gap * (value - self._mean)).sum())

    @property
    def total_variance(self) -> float:
        """``sum_k |G_k - G|^2 / (K - 1)``."""
        return self._squares / (self.count - 1)

    @property
    def entries(self) -> int:
        return 0 if self._mean is None else self._mean.numel()

    @property
    def mean_norm_squared(self) -> float:
        """``|G|^2 - V / K``, unbiased for the squared norm of the expected gradient."""
        assert self._mean is not None
        return float(self._mean.square().sum()) - self.total_variance / self.count


class RuleStatistics:
    """Everything measured of one rule at one point."""

    def __init__(self) -> None:
        self._weights: dict[str, Moments] = {}
        self._noise: dict[str, Moments] = {}
        self._gradient_cosines: dict[str, list[float]] = {}
        self._credit_cosines: dict[str, list[float]] = {}

    def add(
        self, gradient: dict[str, Tensor], exact: dict[str, Tensor], cosines: dict[str, float]
    ) -> None:
        """Take in one minibatch: gradients by synapse, BP's, credit cosines by spiking layer."""
        for name, value in gradient.items():
            self._weights.setdefault(name, Moments()).add(value)
            self._gradient_cosines.setdefault(name, []).append(cosine(value, exact[name]))
        for name, found in cosines.items():
            self._credit_cosines.setdefault(name, []).append(found)

    def add_noise(self, gradient: dict[str, Tensor]) -> None:
        """Take in the gradient of the first minibatch with another noise."""
        for name, value in gradient.items():
            self._noise.setdefault(name, Moments()).add(value)

    def record(self) -> dict[str, Any]:
        """Return plain values."""
        weights = {}
        for name, moments in self._weights.items():
            total, signal = moments.total_variance, moments.mean_norm_squared
            resolved = signal > 0 and total / signal <= moments.count
            noise = self._noise[name].total_variance if self._noise else 0.0
            weights[name] = {
                "entries": moments.entries,
                "variance": _digits(total / moments.entries),
                "noise_variance": _digits(noise / moments.entries),
                "mean_square": _digits(max(signal, 0.0) / moments.entries),
                "relative_variance": _digits(total / signal) if resolved else None,
                "gradient_cosine": _digits(_mean(self._gradient_cosines[name])),
            }
        credit = {name: _digits(_mean(found)) for name, found in self._credit_cosines.items()}
        return {"weights": weights, "credit_cosine": credit}


def cosine(left: Tensor, right: Tensor) -> float:
    """Return ``<l, r> / (|l| |r|)``, 0 if either is zero."""
    norms = float(left.norm() * right.norm())
    return float((left * right).sum()) / norms if norms > 0 else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _digits(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


if __name__ == "__main__":
    main(gradients)
