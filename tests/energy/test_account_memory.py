"""The memory model by hand: bits, levels, reuse, and where it stands."""

import pytest

from neuro.energy import Counts, Facts, Ledger, Traffic, account, joules, ratio
from neuro.energy.pricing.traffic import level
from neuro.errors import UsageError
from neuro.hardware import load_profile

FP32, FP16, INT8 = (load_profile(f"horowitz45-{name}") for name in ("fp32", "fp16", "int8"))
LEVELS = ((8.0, "small"), (32.0, "middle"), (1024.0, "large"))


def layer(facts: Facts, **columns: float) -> Ledger:
    return Ledger({"layer": Counts(**columns)}, facts={"layer": facts})


def term(ledger: Ledger, name: str, profile=FP32, **options) -> float:
    """Return a term of the memory model in picojoules."""
    return account(ledger, profile, **options).terms[f"memory: {name}"].value / 1e-12


@pytest.mark.parametrize(
    ("capacity", "shares"),
    [
        (0, {"small": 1}),
        (4, {"small": 1}),
        (8, {"small": 1}),
        (20, {"small": 0.5, "middle": 0.5}),
        (32, {"small": 0, "middle": 1}),
        (528, {"middle": 0.5, "large": 0.5}),
        (1024, {"middle": 0, "large": 1}),
        (1025, {"far": 1}),
    ],
)
def test_a_level_is_chosen_by_capacity(capacity, shares):
    assert level(capacity, LEVELS, beyond="far") == shares


def test_small_memories_may_cost_nothing_and_large_ones_no_more():
    assert level(2, LEVELS, from_nothing=True) == {"small": 0.25}
    assert level(0, LEVELS, from_nothing=True) == {"small": 0}
    assert level(9999, LEVELS) == {"large": 1}


@pytest.mark.parametrize(
    ("parameters", "per_access"),
    [(1, 10), (2048, 10), (5120, 15), (8192, 20), (2**18, 100), (2**18 + 1, 1950)],
)
def test_weights_of_32_bits(parameters, per_access):
    ledger = layer(Facts(kind="linear", parameters=parameters), weight_reads=10)
    assert term(ledger, "weights") == pytest.approx(10 * per_access / 2)


def test_weights_that_are_no_parameters_have_room():
    ledger = layer(Facts(kind="messages", weights=5120), weight_reads=10)
    assert term(ledger, "weights") == pytest.approx(10 * 15 / 2)


def test_precision_decides_bits_and_level():
    ledger = layer(Facts(kind="linear", parameters=5120), weight_reads=16)
    assert term(ledger, "weights", FP16) == pytest.approx(16 * 16 / 64 * (10 + 10 * 2 / 24))
    assert term(ledger, "weights", INT8) == pytest.approx(16 * 8 / 64 * 10)
    packed = layer(Facts(kind="linear", parameters=5120, weight_bits=4), weight_reads=16)
    assert term(packed, "weights", FP32) == pytest.approx(16 * 4 / 64 * 10)
    assert term(packed, "weights", INT8) == pytest.approx(16 * 4 / 64 * 10)


def test_states_are_words_and_sums_are_kept_like_them():
    ledger = layer(Facts(kind="neurons", state=5120), state_reads=3, state_writes=5)
    assert term(ledger, "state") == pytest.approx(8 * 15 / 2)
    sums = layer(Facts(kind="linear", outputs=5120), state_reads=3, state_writes=5)
    assert term(sums, "state") == pytest.approx(8 * 15 / 2)


@pytest.mark.parametrize(
    ("signal", "bits"), [("real", 32), ("binary", 7), ("ternary", 8), ("graded", 39)]
)
def test_an_event_is_an_address(signal, bits):
    ledger = layer(Facts(kind="linear", signal=signal, inputs=100), activation_reads=64)
    assert term(ledger, "activations") == pytest.approx(bits * 10)


@pytest.mark.parametrize(("own", "bits"), [(1, 7), (2, 8), (8, 8), (32, 32)])
def test_what_goes_out_is_a_spike_or_a_number(own, bits):
    facts = Facts(kind="neurons", outputs=100, activation_bits=own)
    assert term(layer(facts, activation_writes=64), "activations") == pytest.approx(bits * 10)


def test_reuse_divides_reads():
    facts = Facts(kind="linear", parameters=9, inputs=9, outputs=9)
    ledger = layer(facts, weight_reads=64, activation_reads=64, activation_writes=64)
    reused = Traffic(weight_reuse=4, activation_reuse=2)
    assert term(ledger, "weights", traffic=reused) == pytest.approx(32 * 10 / 4)
    assert term(ledger, "activations", traffic=reused) == pytest.approx(32 * 10 * (1 / 2 + 1))
    with pytest.raises(UsageError, match="weight_reuse must be at least 1, got 0"):
        Traffic(weight_reuse=0)


def test_memory_stands_apart_unless_it_is_asked_for():
    ledger = layer(Facts(kind="linear", parameters=9), macs=10, weight_reads=10)
    apart, within = account(ledger, FP32), account(ledger, FP32, include_memory=True)
    assert apart.total.value == pytest.approx(46e-12)
    assert apart.with_memory is not None
    assert apart.with_memory.value == pytest.approx(96e-12)
    assert within.total == within.with_memory == apart.with_memory
    assert (apart.scope, within.scope) == ("arithmetic alone", "arithmetic and memory")
    assert apart.terms == within.terms
    assert apart.layers["layer"].value == pytest.approx(46e-12)
    assert within.layers["layer"].value == pytest.approx(96e-12)
    assert "memory: it stands apart" in apart.excluded
    assert not any("without a price" in each for each in (*apart.excluded, *within.excluded))
    assert not any(each.startswith("memory") for each in within.excluded)
    assert {each.constant for each in within.sensitivity} - {
        each.constant for each in apart.sensitivity
    } == {"sram_8kb_energy"}
    assert joules(ledger, FP32, include_memory=True) == within.total.value


def test_precisions_share_their_memory():
    """The two sides draw the memory's constants once, so its doubt cancels."""
    facts = Facts(kind="linear", parameters=9, weight_bits=8)
    ledger = layer(facts, weight_reads=10**9, macs=1)
    found = ratio(ledger, ledger, FP32, INT8, include_memory=True)
    assert found == pytest.approx((1, 1, 1), rel=1e-6)


def test_layers_of_unknown_size_are_listed():
    ledger = Ledger({"layer": Counts(weight_reads=4, macs=4)})
    found = account(ledger, FP32)
    assert found.with_memory is None
    assert "memory of layers whose sizes are not known: layer" in found.excluded
