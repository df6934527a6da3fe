"""What backward keeps: the count itself, and what is claimed of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.command import CheckFailedError, run
from benchmarks.kept import (
    OURS,
    PEER,
    RECOMPUTE,
    Contender,
    agree,
    bytes_kept,
    check_bars,
    kept,
    measure,
    own_contenders,
    peer_contenders,
)
from benchmarks.layers import draw_currents
from benchmarks.live_bytes import live_bytes
from benchmarks.records import origin, write_result
from benchmarks.tables import render
from neuro.errors import NeuroError
from neuro.training.environment import package_version

SIZES = (16, 4, 40)


def test_live_bytes_are_those_that_outlive_the_call():
    weight = torch.ones(1000, requires_grad=True)
    kept_aside: list[Tensor] = []

    def compute(aside: int) -> Tensor:
        doubled = weight * 2  # a Python number: nothing is kept
        squared = doubled.square()  # keeps what it was given
        kept_aside.append(squared[:aside] + 1)
        return squared.sum()

    result, size = live_bytes(lambda: compute(0), [weight])
    assert (result.item(), size) == (4000.0, 4000)
    assert live_bytes(lambda: compute(10), [weight])[1] == 4000 + 40
    with torch.no_grad():
        assert live_bytes(lambda: compute(10), [weight])[1] == 40
    assert live_bytes(lambda: weight.view(10, 100).sum(), [weight])[1] == 0


def test_recomputing_keeps_one_bit_a_spike_and_the_initial_state():
    contenders = own_contenders(SIZES[2])
    state = 4 / SIZES[0]
    numbers = 8 * 4 / torch.Size(SIZES).numel()  # the eight numbers of a neuron
    assert bytes_kept(contenders[OURS], SIZES) == pytest.approx(8 + state + numbers, abs=1e-3)
    recomputed = bytes_kept(contenders[RECOMPUTE], SIZES)
    assert recomputed == pytest.approx(1 / 8 + state + numbers, abs=1e-3)


def test_the_contenders_agree_and_are_timed():
    contenders = own_contenders(SIZES[2])
    spikes, gradient = contenders[OURS].learn(draw_currents(*SIZES))
    assert 0.05 < spikes.mean() < 0.95
    assert gradient.abs().sum() > 0
    found = measure(contenders, SIZES, rounds=2, warm_up=1)
    assert found.keys() == {OURS, RECOMPUTE}
    for each in found.values():
        assert 0 < each["forward_backward"]["min_ms"] <= each["forward_backward"]["median_ms"]


def test_a_contender_that_disagrees_is_told():
    ours = own_contenders(SIZES[2])[OURS]
    currents = draw_currents(*SIZES)
    expected = [each.clone() for each in ours.learn(currents)]
    late = Contender(lambda currents: ours.forward(currents.roll(1, 0)), ours.synapse)
    with pytest.raises(CheckFailedError, match="of the spikes of 'late'"):
        agree("late", late.learn(currents), expected)
    with pytest.raises(CheckFailedError, match="gradient of 'steep'"):
        agree("steep", (expected[0], 1.001 * expected[1]), expected)


def record(peer: float | None) -> dict[str, object]:
    """A result in which ours with recompute keeps a quarter of a byte."""
    found = {OURS: (8.125, 1.0), RECOMPUTE: (0.25, 1.3), PEER: (peer, 1.5)}
    return {
        "kind": "kept",
        "timesteps": 32,
        "batch_size": 128,
        "neurons": 1024,
        "rounds": 20,
        "spikingjelly": "2.0.0" if peer else None,
        "contenders": {
            name: {
                "bytes_kept": size,
                "forward_backward": {
                    "median_ms": 100 * ratio,
                    "p20_ms": 90 * ratio,
                    "p80_ms": 120 * ratio,
                    "over_neuro": {"median": ratio},
                },
            }
            for name, (size, ratio) in found.items()
            if size is not None
        },
    }


def test_check_holds_ours_to_a_quarter_of_spikingjelly(capsys):
    check_bars(record(peer=1.0))
    assert "4.00, at least 4: holds" in capsys.readouterr().out
    with pytest.raises(CheckFailedError, match="not as claimed"):
        check_bars(record(peer=0.99))
    with pytest.raises(CheckFailedError, match="make bench-peers"):
        check_bars(record(peer=None))


def test_the_table_states_bytes_and_time(tmp_path: Path) -> None:
    opening = origin(["python", "-m", "benchmarks.kept", "--peers"])
    write_result(tmp_path / "kept.json", {**opening, **record(12.25)})
    text = render(tmp_path)
    assert "T = 32, B = 128, N = 1024" in text
    assert "| SpikingJelly | 12.25 | 49.0 | 150.0 (135.0 to 180.0) | 1.50 |" in text
    assert "`python -m benchmarks.kept --peers` (`make bench-peers`)" in text
    assert "SpikingJelly 2.0.0." in text


@pytest.mark.skipif(bool(package_version("spikingjelly")), reason="the peer is installed")
def test_a_missing_peer_is_told_with_the_command_that_installs_it():
    with pytest.raises(NeuroError, match="make bench-peers"):
        peer_contenders(torch.nn.Linear(2, 2))


@pytest.fixture
def threads_stay() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("threads_stay")
def test_a_small_measurement_is_recorded_and_wrong_use_told(tmp_path: Path, capsys):
    file = tmp_path / "kept.json"
    sizes = ["--timesteps", "4", "--batch-size", "2", "--neurons", "16", "--threads", "1"]
    assert run(kept, [*sizes, "--rounds", "2", "--results", str(file)]) == 0
    assert "neuro, recompute" in capsys.readouterr().out
    assert run(kept, ["--check", "--results", str(file)]) != 0
    assert "--peers" in capsys.readouterr().err
    assert run(kept, ["--rounds", "0"]) == 2
    assert "--rounds must be >= 1" in capsys.readouterr().err
