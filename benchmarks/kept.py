"""What backward keeps of a dense synapse and its LIF layer, and what a step with them costs.

Spikes of a layer of N neurons, which needs no gradient, go through a dense synapse to a second
layer of N: ``[T, B, N]`` currents in, uniform in [0, 2); float32. The neurons are those of
:mod:`benchmarks.layers`. ``bytes_kept`` is what the forward pass leaves in memory besides weights
and its result, by neuron and time step: the presynaptic spikes, however they are held, count.
Before anything is timed, spikes and the gradient of the weight must agree with ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.command import CheckFailedError, main, say
from benchmarks.interleaved import Step, ratios, summary, take_turns
from benchmarks.layers import GRADIENT_TOLERANCE, NEURON, PEER, SPIKE_TOLERANCE, draw_currents
from benchmarks.live_bytes import live_bytes
from benchmarks.records import RESULTS, options_given, origin, read_result, write_result
from neuro.errors import NeuroError, UsageError
from neuro.layers import Linear, Network, Node, Spiking
from neuro.training.environment import package_version
from neuro.training.memory import tune_malloc

KIND = "kept"
OURS, RECOMPUTE = "neuro", "neuro, recompute"
LEAST_FACTOR = 4.0
"""How many times more bytes SpikingJelly must keep than ours with ``recompute``."""


@dataclass(frozen=True)
class Contender:
    """Both layers and the synapse: currents to the spikes of the second layer."""

    forward: Any
    synapse: nn.Linear

    def learn(self, currents: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and the gradient of the weight for ones as that of the spikes."""
        self.synapse.zero_grad()
        spikes = self.forward(currents)
        torch.autograd.backward(spikes, torch.ones_like(spikes))
        assert self.synapse.weight.grad is not None
        return spikes.detach(), self.synapse.weight.grad


def kept(
    *,
    peers: bool = False,
    timesteps: int = 32,
    batch_size: int = 128,
    neurons: int = 1024,
    rounds: int = 20,
    warm_up: int = 2,
    threads: int = 2,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Count what backward keeps of a synapse and its layer, and time a step.

    Parameters
    ----------
    peers
        Measure SpikingJelly too; needs the environment that `make bench-peers` makes.
    timesteps
        T.
    batch_size
        B.
    neurons
        N, of each layer.
    rounds
        Timed calls of each contender.
    warm_up
        Calls of each contender before.
    threads
        CPU threads.
    results
        Result file; default benchmarks/results/kept.json.
    check
        Measure nothing; fail unless, by the result file, SpikingJelly keeps at least 4 times what
        ours with recompute does.
    """
    file = results or RESULTS / "kept.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    sizes = {"timesteps": timesteps, "batch-size": batch_size, "neurons": neurons}
    for name, number in {**sizes, "rounds": rounds, "warm-up": warm_up, "threads": threads}.items():
        if number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    contenders = own_contenders(neurons)
    if peers:
        contenders |= peer_contenders(contenders[OURS].synapse)
    malloc = tune_malloc()
    torch.set_num_threads(threads)
    options = options_given(
        kept,
        peers=peers,
        timesteps=timesteps,
        batch_size=batch_size,
        neurons=neurons,
        rounds=rounds,
        warm_up=warm_up,
        threads=threads,
    )
    record = {
        **origin(["python", "-m", "benchmarks.kept", *options]),
        "kind": KIND,
        "timesteps": timesteps,
        "batch_size": batch_size,
        "neurons": neurons,
        "rounds": rounds,
        "malloc": malloc.reason,
        "spikingjelly": package_version("spikingjelly") if peers else None,
        "contenders": measure(contenders, (timesteps, batch_size, neurons), rounds, warm_up),
    }
    write_result(file, record)
    for name, found in record["contenders"].items():
        times = found["forward_backward"]
        print(f"{name:18} {found['bytes_kept']:7.3f} bytes {times['median_ms']:8.1f} ms")


def own_contenders(neurons: int) -> dict[str, Contender]:
    """Return ours, as it is and with ``recompute``; both have one synapse."""
    torch.manual_seed(0)
    nodes = [
        Node("before", Spiking(NEURON)),
        Node("synapse", Linear(neurons, neurons)),
        Node("after", Spiking(NEURON)),
    ]
    network = Network(nodes, (neurons,))
    synapse = network.nodes["synapse"]
    assert isinstance(synapse, Linear)
    with torch.no_grad():  # currents about the threshold
        synapse.weight.normal_(0, 3 * neurons**-0.5)
        synapse.bias.fill_(1.0)

    def forward(currents: Tensor, recompute: bool) -> Tensor:
        state, weights = network.initial_state(currents.shape[1]), network.effective_weights()
        return network.advance_sequence(currents, state, weights, recompute=recompute)[0]

    return {
        OURS: Contender(lambda currents: forward(currents, False), synapse),
        RECOMPUTE: Contender(lambda currents: forward(currents, True), synapse),
    }


def peer_contenders(synapse: nn.Linear) -> dict[str, Contender]:
    """Return SpikingJelly's layers around the same synapse.

    Raises:
        NeuroError: it is not installed.
    """
    if package_version("spikingjelly") is None:
        raise NeuroError(
            "--peers needs spikingjelly. `make bench-peers` makes an environment with it."
        )
    from benchmarks.peers import spikingjelly_lif

    return {PEER: Contender(spikingjelly_lif.around(synapse), synapse)}


def measure(
    contenders: dict[str, Contender], sizes: tuple[int, int, int], rounds: int, warm_up: int
) -> dict[str, dict[str, Any]]:
    """Compare all contenders with ours, count what they keep, then time them.

    Raises:
        CheckFailedError: one does not agree.
    """
    currents = draw_currents(*sizes)
    expected = [each.clone() for each in contenders[OURS].learn(currents)]
    found: dict[str, dict[str, Any]] = {}
    for name, contender in contenders.items():
        agree(name, contender.learn(currents), expected)
        found[name] = {"bytes_kept": bytes_kept(contender, sizes)}
        say(f"{name}: ready")
    seconds = take_turns(
        {name: _step(each, currents) for name, each in contenders.items()}, rounds, warm_up
    )
    for name, each in seconds.items():
        found[name]["forward_backward"] = {
            **summary([1e3 * value for value in each], "ms", 3),
            "over_neuro": ratios(each, seconds[OURS]),
        }
    return found


def agree(name: str, found: tuple[Tensor, Tensor], expected: list[Tensor]) -> None:
    """Compare spikes, and the gradient of weights into neurons whose spikes are all equal.

    Raises:
        CheckFailedError: they differ by more than other orders of operations do.
    """
    equal = found[0] == expected[0]
    share = 1 - float(equal.double().mean())
    if share > SPIKE_TOLERANCE:
        raise CheckFailedError(f"{share:.2%} of the spikes of {name!r} are not those of ours.")
    difference = (found[1] - expected[1])[equal.flatten(0, 1).all(0)]
    gap = float(difference.abs().max() / expected[1].abs().max())
    if not gap <= GRADIENT_TOLERANCE:
        raise CheckFailedError(
            f"The gradient of {name!r} differs from ours by {gap:.2%} of the largest."
        )


def bytes_kept(contender: Contender, sizes: tuple[int, int, int]) -> float:
    """Return what a forward pass leaves in memory, by neuron and time step."""
    parameters = list(contender.synapse.parameters())
    spikes, size = live_bytes(lambda: contender.forward(draw_currents(*sizes)), parameters)
    return round(size / spikes.numel(), 3)


def _step(contender: Contender, currents: Tensor) -> Step:
    def step() -> None:
        contender.learn(currents)

    return step


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, str, bool]]:
    """Yield text, ratio, its limit in words, and whether it holds."""
    contenders = record["contenders"]
    if PEER in contenders:
        ratio = contenders[PEER]["bytes_kept"] / contenders[RECOMPUTE]["bytes_kept"]
        text = f"bytes kept: {PEER} over ours with recompute"
        yield text, ratio, f"at least {LEAST_FACTOR:g}", ratio >= LEAST_FACTOR


def check_bars(record: dict[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold, or what it compares with was not measured.
    """
    bars = list(bars_of(record))
    for text, ratio, limit, holds in bars:
        print(f"{text}: {ratio:.2f}, {limit}: {'holds' if holds else 'FAILS'}")
    if not bars:
        raise CheckFailedError(f"{PEER} was not measured; run with --peers (`make bench-peers`).")
    if not all(holds for *_, holds in bars):
        raise CheckFailedError("What backward keeps is not as claimed.")


if __name__ == "__main__":
    main(kept)
