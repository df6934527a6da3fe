"""Time per training sample, all contenders interleaved in one process.

A training step is what a loop does with one batch: clear gradients, forward and update over T time
steps, one Adam step. All contenders train on the same batch. Reported are the median and the 20th
and 80th percentiles over rounds, after warm-up, divided by the batch size. Ratios are medians over
rounds of the ratio within a round.

All contenders have the same network, without weight standardisation, because SpikingJelly's layers
have none. Before anything is timed, contenders that compute the same thing must agree: the
gradients of SpikingJelly's OTTT equal those of ours.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.command import CheckFailedError, main, say
from benchmarks.interleaved import Step, ratios, summary, take_turns
from benchmarks.records import RESULTS, options_given, origin, read_result, write_result
from neuro.errors import NeuroError, UsageError, nearest
from neuro.layers import Network
from neuro.learning import build_rule, rule_class
from neuro.models import MLP, Conv5, ModelOptions, build_model
from neuro.training.environment import package_version
from neuro.training.memory import tune_malloc

KIND = "speed"
MSE_WEIGHT = 0.05
LR = 1e-6
"""So small that the weights, and with them the firing rates, stay as they are."""

PEER = "spikingjelly-ottt"
RULES = ("ottt", "opzo", "dfa", "bptt")
LIMITS = {"ottt": 1.25, "bptt": 1.0, PEER: 0.5}
"""What OPZO may take of the time of others."""
GRADIENT_TOLERANCE = 1e-3
"""Relative norm; float32 sums in another order, and a neuron at threshold may tip over."""


@dataclass(frozen=True)
class Workload:
    """A network and a batch.

    Attributes:
        title: in words.
        model: the network.
        input_shape: of one sample at one time step.
        frames: "same" input at every time step (a static image), or "different" ones (events), in
            which a tenth of the pixels is 1.
        weight_gain: factor on the initial weights, so that every layer fires without weight
            standardisation.
        batch_size: B.
        timesteps: T.
    """

    title: str
    model: ModelOptions
    input_shape: tuple[int, ...]
    frames: str
    weight_gain: float = 1.0
    batch_size: int = 128
    timesteps: int = 6


WORKLOADS = {
    "mlp": Workload("784-800-800-10, image", MLP(norm="none"), (784,), "same"),
    "mlp-events": Workload(
        "784-800-800-10, event frames", MLP(norm="none"), (784,), "different", 2.0
    ),
    **{
        f"mlp-2312-{steps}": Workload(
            "2312-800-10, event frames",
            MLP(norm="none", hidden=(800,)),
            (2312,),
            "different",
            2.0,
            batch_size=64,
            timesteps=steps,
        )
        for steps in (10, 40, 160)
    },
    "conv5": Workload(
        "conv5 at quarter width, 3x32x32 image",
        Conv5(norm="none", width=0.25),
        (3, 32, 32),
        "same",
        3.0,
    ),
}


def speed(
    *,
    workloads: str = ",".join(WORKLOADS),
    peers: bool = False,
    rounds: int = 20,
    warm_up: int = 2,
    threads: int = 1,
    batch_size: int | None = None,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Time the training step of OPZO and its contenders.

    Parameters
    ----------
    workloads
        Which to time, separated by commas: mlp, mlp-events, mlp-2312-10, mlp-2312-40,
        mlp-2312-160, conv5.
    peers
        Time SpikingJelly's OTTT too; needs the environment that `make bench-peers` makes.
    rounds
        Timed steps of each contender.
    warm_up
        Steps of each contender before.
    threads
        CPU threads.
    batch_size
        Samples in a batch; default that of the workload.
    results
        Result file; default benchmarks/results/speed.json.
    check
        Time nothing; fail unless, by the result file, OPZO takes at most 1.25 times the time of the
        OTTT loop, less than BPTT, and at most half of SpikingJelly's OTTT.
    """
    file = results or RESULTS / "speed.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    names = [name.strip() for name in workloads.split(",")]
    for name in names:
        if name not in WORKLOADS:
            known = f"Workloads: {', '.join(WORKLOADS)}."
            raise UsageError(f"unknown workload {name!r}.{nearest(name, WORKLOADS)} {known}")
    if rounds < 1 or warm_up < 1:
        raise UsageError(f"--rounds and --warm-up must be >= 1, got {rounds} and {warm_up}.")
    if peers and package_version("spikingjelly") is None:
        raise NeuroError(
            "--peers needs SpikingJelly. `make bench-peers` makes an environment with it."
        )
    malloc = tune_malloc()
    torch.set_num_threads(threads)
    measured = {
        name: measure(WORKLOADS[name], peers, rounds, warm_up, batch_size) for name in names
    }
    options = options_given(
        speed,
        workloads=workloads,
        peers=peers,
        rounds=rounds,
        warm_up=warm_up,
        threads=threads,
        batch_size=batch_size,
    )
    record = {
        **origin(["python", "-m", "benchmarks.speed", *options]),
        "kind": KIND,
        "spikingjelly": package_version("spikingjelly") if peers else None,
        "malloc": malloc.reason,
        "norm": "none: no weight standardisation in any contender",
        "rounds": rounds,
        "workloads": measured,
    }
    write_result(file, record)
    for name, each in measured.items():
        print(f"{name}: {each['title']}, T = {each['timesteps']}, B = {each['batch_size']}")
        for contender, found in each["contenders"].items():
            print(
                f"  {contender:18} {found['median_us']:9.1f} us a sample "
                f"({found['p20_us']:.1f} to {found['p80_us']:.1f}), "
                f"opzo takes {each['opzo_over'][contender]['median']:.2f} of it"
            )


def measure(
    workload: Workload, peers: bool, rounds: int, warm_up: int, batch_size: int | None
) -> dict[str, Any]:
    """Time one workload.

    Raises:
        CheckFailedError: contenders that should agree do not.
    """
    batch = batch_size or workload.batch_size
    generator = torch.Generator().manual_seed(0)
    network = draw_network(workload, generator)
    frames = draw_frames(workload, batch, generator)
    targets = torch.randint(network.classes, (batch,), generator=generator)
    rates = network.run(frames).firing_rates
    contenders = {name: _own_step(name, deepcopy(network), frames, targets) for name in RULES}
    if peers:
        contenders[PEER] = _peer_step(network, frames, targets)
    seconds = take_turns(contenders, rounds, warm_up)
    say(f"{workload.title}: {rounds} rounds")
    return {
        "title": workload.title,
        "batch_size": batch,
        "timesteps": workload.timesteps,
        "frames": workload.frames,
        "firing_rates": {name: round(float(rate), 4) for name, rate in rates.items()},
        "contenders": {
            name: summary([1e6 * step / batch for step in each], "us")
            for name, each in seconds.items()
        },
        "opzo_over": {name: ratios(seconds["opzo"], each) for name, each in seconds.items()},
    }


def draw_network(workload: Workload, generator: torch.Generator) -> Network:
    """Return the network that all contenders start from."""
    network = build_model(workload.model, workload.input_shape, 10, generator)
    with torch.no_grad():
        for name, synapse in network.synapse_nodes.items():
            if name != network.output:
                synapse.weight *= workload.weight_gain
    return network


def draw_frames(workload: Workload, batch: int, generator: torch.Generator) -> list[Tensor]:
    """Return T inputs: one image T times, or T frames in which a tenth of the pixels is 1."""
    shape = (batch, *workload.input_shape)
    if workload.frames == "same":
        return [torch.randn(shape, generator=generator)] * workload.timesteps
    return [
        (torch.rand(shape, generator=generator) < 0.1).float() for _ in range(workload.timesteps)
    ]


def _own_step(name: str, network: Network, frames: Sequence[Tensor], targets: Tensor) -> Step:
    options = rule_class(name).Options(mse_weight=MSE_WEIGHT)
    rule = build_rule(network, options, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.Adam(rule.parameter_groups(LR), lr=LR, fused=True)
    noise = torch.Generator().manual_seed(2)

    def step() -> None:
        optimiser.zero_grad()
        rule.learn(iter(frames), len(frames), targets, generator=noise)
        optimiser.step()

    return step


def _peer_step(network: Network, frames: Sequence[Tensor], targets: Tensor) -> Step:
    from benchmarks.peers.spikingjelly_ottt import SpikingJellyOTTT

    peer = SpikingJellyOTTT(network, MSE_WEIGHT, len(frames))
    same = all(frame is frames[0] for frame in frames)
    inputs = frames[0].expand(len(frames), *frames[0].shape) if same else torch.stack([*frames])
    require_agreement(network, peer.parameters(), peer.train_batch, frames, inputs, targets)
    optimiser = torch.optim.Adam(peer.parameters(), lr=LR, fused=True)

    def step() -> None:
        peer.train_batch(inputs, targets, optimiser)

    return step


def require_agreement(
    network: Network,
    peer_parameters: Sequence[torch.nn.Parameter],
    train_batch: Callable[[Tensor, Tensor, torch.optim.Optimizer], Tensor],
    frames: Sequence[Tensor],
    inputs: Tensor,
    targets: Tensor,
) -> None:
    """No speed is reported of a contender that computes something else."""
    own = deepcopy(network)
    options = rule_class("ottt").Options(mse_weight=MSE_WEIGHT)
    rule = build_rule(own, options, generator=torch.Generator())
    rule.learn(iter(frames), len(frames), targets, generator=torch.Generator())
    train_batch(inputs, targets, torch.optim.SGD(peer_parameters, lr=0.0))
    for (name, mine), theirs in zip(own.named_parameters(), peer_parameters, strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        gap = float((mine.grad - theirs.grad).norm() / mine.grad.norm())
        if not gap < GRADIENT_TOLERANCE:
            raise CheckFailedError(
                f"The gradient of {name} by {PEER} differs from ours by {gap:.1%} of its norm."
            )


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield text, ratio and its limit for every workload."""
    for name, each in record["workloads"].items():
        for other, limit in LIMITS.items():
            if other in each["opzo_over"]:
                yield f"{name}: opzo over {other}", each["opzo_over"][other]["median"], limit


def check_bars(record: dict[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold, or SpikingJelly was not timed.
    """
    failed = 0
    for text, ratio, limit in bars_of(record):
        failed += ratio > limit
        print(f"{text}: {ratio:.2f}, at most {limit:g}: {'holds' if ratio <= limit else 'FAILS'}")
    if record["spikingjelly"] is None:
        raise CheckFailedError("SpikingJelly was not timed; run with --peers (`make bench-peers`).")
    if failed:
        raise CheckFailedError(f"{failed} bars of speed do not hold.")


if __name__ == "__main__":
    main(speed)
