"""One LIF layer beside other ways to run it: that they agree, and what is claimed of the ratios."""

import math
from pathlib import Path

import pytest
import torch

from benchmarks.command import CheckFailedError, run
from benchmarks.layers import (
    COMPILED,
    COPY,
    FUSED,
    LOOP,
    OURS,
    PEER,
    PEER_PACKAGES,
    QUANTITIES,
    Contender,
    check_bars,
    compare,
    draw_currents,
    layers,
    learn,
    measure,
    measure_scaling,
    own_contenders,
    peer_contenders,
)
from benchmarks.peers import fused_lif
from benchmarks.records import origin, write_result
from benchmarks.tables import render
from neuro.errors import NeuroError
from neuro.training.environment import package_version

CURRENTS = draw_currents(9, 3, 700)


@pytest.fixture(scope="module")
def contenders() -> dict[str, Contender]:
    """All but the compiled loop, which takes a minute to compile."""
    found, _ = own_contenders()
    found.pop(COMPILED, None)
    return found


@pytest.fixture(scope="module")
def expected(contenders: dict[str, Contender]) -> tuple[torch.Tensor, torch.Tensor]:
    return learn(contenders[OURS], CURRENTS)


def test_the_layer_is_the_one_described(contenders):
    currents = torch.tensor([0.5, 1.5, 1.25, 2.0, 0.5])[:, None, None]
    for name in contenders.keys() - {COPY}:
        spikes, gradient = learn(contenders[name], currents)
        # u = 0.25, 0.875, 1.0625 (fires), 1 (fires at the threshold), 0.25
        assert spikes.flatten().tolist() == [0, 0, 1, 1, 0], name
        bump = [1 / (1 + (torch.pi * (u - 1)) ** 2) for u in (0.25, 0.875, 1.0625, 1.0, 0.25)]
        third = bump[2] / 2
        second = (bump[1] + third) / 2
        expected = [(bump[0] + second) / 2, second, third, 0.5, bump[4] / 2]
        assert gradient.flatten().tolist() == pytest.approx(expected, rel=1e-5), name


def test_contenders_that_compute_the_same_agree_and_all_are_timed(contenders):
    found = measure(contenders, CURRENTS, rounds=2, warm_up=1)
    assert found.keys() == contenders.keys()
    for name, each in found.items():
        for quantity in QUANTITIES:
            times = each[quantity]
            assert 0 < times["min_ms"] <= times["p20_ms"] <= times["median_ms"] <= times["p80_ms"]
        assert each.get("equal_spikes", 1.0) == 1.0, name
        assert each.get("gradient_gap", 0.0) <= 1e-6, name
    assert found[OURS]["forward"]["over_neuro"] == {"median": 1.0, "p20": 1.0, "p80": 1.0}


def test_the_kernel_keeps_its_currents_alone_for_backward(contenders, expected):
    """Its state begins at rest: one zero for all."""
    found = compare(OURS, contenders[OURS], CURRENTS, expected)
    assert found["saved_bytes"] == pytest.approx(4, abs=0.01)
    assert compare(LOOP, contenders[LOOP], CURRENTS, expected)["saved_bytes"] > 7.9


@pytest.mark.parametrize("neurons", [1, 2047, 5000])
def test_the_loop_in_cpp_agrees_at_all_sizes(neurons, contenders):
    if FUSED not in contenders:
        pytest.skip("no C++ compiler")
    currents = draw_currents(7, neurons)
    expected = learn(contenders[OURS], currents)
    assert compare(FUSED, contenders[FUSED], currents, expected)["saved_bytes"] == 4


def test_a_contender_that_disagrees_is_not_timed(contenders, expected):
    ours = contenders[OURS].layer
    late = Contender(lambda currents: ours(currents.roll(1, 0)))
    steep = Contender(lambda currents: ours(1.001 * currents - 0.001 * currents.detach()))
    with pytest.raises(CheckFailedError, match="of the spikes of 'late'"):
        compare("late", late, CURRENTS, expected)
    with pytest.raises(CheckFailedError, match="gradient of 'steep'"):
        compare("steep", steep, CURRENTS, expected)
    other = Contender(late.layer, same=False)
    assert 0.3 < compare("late", other, CURRENTS, expected)["equal_spikes"] < 0.9


def test_a_contender_may_take_the_batch_first(contenders, expected):
    ours = contenders[OURS].layer
    swapped = Contender(lambda currents: ours(currents.transpose(0, 1)).transpose(0, 1), True, True)
    assert compare("swapped", swapped, CURRENTS, expected)["gradient_gap"] == 0


def test_without_a_compiler_what_needs_one_is_absent_with_the_reason(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(fused_lif, "library", fused_lif.library.__wrapped__)
    found, absent = own_contenders()
    assert absent.keys() == {FUSED, COMPILED}
    assert "no-such-compiler" in absent[FUSED]
    assert not found.keys() & absent.keys()


def test_the_compiled_loop_leaves_the_arithmetic_of_the_process_as_it_was(contenders):
    if FUSED not in contenders:
        pytest.skip("no C++ compiler")
    subnormal = torch.full((64,), 1e-40)
    assert (subnormal * 1 > 0).all()
    assert math.ulp(0.0) * 1.0 > 0


@pytest.mark.skipif(
    all(package_version(name) for name in PEER_PACKAGES), reason="the peers are installed"
)
def test_missing_peers_are_told_with_the_command_that_installs_them(tmp_path, capsys):
    with pytest.raises(NeuroError, match="make bench-peers"):
        peer_contenders(compiled=False)
    assert run(layers, ["--peers", "--results", str(tmp_path / "layers.json")]) != 0
    assert "snntorch" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_wrong_use_is_told_in_one_message(capsys):
    assert run(layers, ["--timesteps", "0"]) == 2
    assert "--timesteps must be >= 1" in capsys.readouterr().err


def test_scaling_is_measured_by_neuron_and_time_step():
    points = measure_scaling(2, 1, steps=(2, 3), neurons=(5, 10))
    assert [(point["timesteps"], point["neurons"]) for point in points] == [
        *((2, 5), (2, 10), (3, 5), (3, 10))
    ]
    assert all(point["median_ns"] > 0 for point in points)


def record(
    fused: tuple[float, float] | None, peer: tuple[float, float] | None
) -> dict[str, object]:
    """A result in which C++ and SpikingJelly take so many times what ours does."""
    found = {OURS: (1.0, 1.0), FUSED: fused, PEER: peer, COPY: (0.5, 0.5)}
    contenders = {
        name: {
            "same": name != COPY,
            **({} if name == COPY else {"equal_spikes": 1.0, "saved_bytes": 4.125}),
            **{
                quantity: {
                    "median_ms": 2.0 * ratio,
                    "p20_ms": 1.5 * ratio,
                    "p80_ms": 3.0 * ratio,
                    "over_neuro": {"median": ratio},
                }
                for quantity, ratio in zip(QUANTITIES, ratios, strict=True)
            },
        }
        for name, ratios in found.items()
        if ratios is not None
    }
    return {
        "kind": "layers",
        "timesteps": 32,
        "batch_size": 128,
        "neurons": 1024,
        "rounds": 30,
        "peers": {"spikingjelly": "2.0.0"} if peer else None,
        "absent": {} if fused else {FUSED: "no compiler."},
        "contenders": contenders,
        "scaling": None,
    }


def test_check_holds_ours_to_its_ratios(capsys):
    check_bars(record(fused=(0.9, 0.85), peer=(8.5, 5.5)))
    assert capsys.readouterr().out.count("holds") == 4
    for fused, peer in (((0.8, 1.0), (9, 9)), ((1, 0.8), (9, 9)), ((1, 1), (7.9, 9))):
        with pytest.raises(CheckFailedError, match="1 bars"):
            check_bars(record(fused=fused, peer=peer))
    with pytest.raises(CheckFailedError, match="no compiler"):
        check_bars(record(fused=None, peer=(9, 9)))
    with pytest.raises(CheckFailedError, match="make bench-peers"):
        check_bars(record(fused=(1, 1), peer=None))


def test_the_table_states_times_ratios_and_memory(tmp_path: Path) -> None:
    opening = origin(["python", "-m", "benchmarks.layers", "--peers"])
    write_result(tmp_path / "layers.json", {**opening, **record((0.9, 0.85), (8.5, 5.5))})
    text = render(tmp_path)
    assert "T = 32, B = 128, N = 1024" in text
    row = "| SpikingJelly | 17.00 (12.75 to 25.50) | 8.50 | 11.00 (8.25 to 16.50) | 5.50 | 4.1 "
    assert row + "| 100.00 |" in text
    assert "| copy | 1.00 (0.75 to 1.50) | 0.50 | 1.00 (0.75 to 1.50) | 0.50 | - | - |" in text
    assert "`python -m benchmarks.layers --peers` (`make bench-peers`)" in text
    assert "spikingjelly 2.0.0" in text
    write_result(tmp_path / "layers.json", {**opening, **record(None, None)})
    assert "C++: no compiler." in render(tmp_path)
