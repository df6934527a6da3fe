"""What a placement adds: messages, hops, static power over the time of a step."""

from dataclasses import replace

import numpy as np
import pytest

from neuro.energy import Counts, Ledger, PlacementTerms, account, placement_terms, ratio
from neuro.energy.pricing.placement import step_seconds
from neuro.energy.pricing.prices import prices_of
from neuro.energy.pricing.scenarios import Scenarios
from neuro.errors import UsageError
from neuro.hardware import load_profile
from neuro.hardware.integer_graph import (
    Connection,
    Cuba,
    Dense,
    IntegerGraph,
    Population,
    Source,
)
from neuro.hardware.place import place

LOIHI, SANAFE = load_profile("loihi1"), load_profile("loihi1-sanafe")
SIZES = {"in": 4, "a": 2500, "b": 10}
TERMS = PlacementTerms(
    profile="loihi1",
    cores=3,
    tiles=1,
    chips=1,
    timesteps=4,
    messages=10,
    hops_east_west=6,
    hops_north_south=2,
    core_counts=(Counts(),),
)
IDLE = Ledger({"a": Counts()}, timesteps=4)


def graph() -> IntegerGraph:
    integers = {name: np.asarray(value, np.int32) for name, value in (("du", 4095), ("dv", 100))}
    neuron = Cuba(**integers, vth=np.asarray(50, np.int32))
    joined = (("in", "a"), ("a", "b"))
    return IntegerGraph(
        sources={"in": Source(name="in", shape=(4,))},
        populations={
            name: Population(name=name, shape=(SIZES[name],), neuron=neuron) for name in ("a", "b")
        },
        connections=tuple(
            Connection(
                source=source,
                target=target,
                synapses=Dense(weight=np.full((SIZES[target], SIZES[source]), 2, np.int32)),
            )
            for source, target in joined
        ),
        output="b",
        steps=4,
    )


def ledger(samples: int = 5) -> Ledger:
    """Return what a run over some samples may count."""
    return Ledger(
        {
            "in -> a": Counts(synaptic_additions=400_000),
            "a -> b": Counts(synaptic_additions=5_000),
            "a": Counts(neuron_updates=50_000, active_updates=30_000, spikes=500),
            "b": Counts(neuron_updates=200, active_updates=100, spikes=20),
        },
        samples=samples,
        timesteps=4,
    )


def placed():
    spikes = {"a": np.zeros(2500), "b": np.ones(10)}
    spikes["a"][::5] = 1
    return place(graph(), LOIHI, spikes=spikes)


def step(terms: PlacementTerms, profile=LOIHI) -> float:
    prices = prices_of(profile)
    rows = Scenarios([prices], 1).rows(prices)
    return float(step_seconds(terms, prices, rows)[0])


def test_terms_are_those_of_the_placement():
    placement = placed()
    terms = placement_terms(placement, ledger())
    (messages,) = [route.messages for route in placement.routes]
    assert (terms.cores, terms.tiles, terms.chips) == (len(placement.cores), placement.tiles, 1)
    assert terms.cores >= 3
    assert terms.messages == messages.sent / 5 == 100
    assert terms.hops_east_west == messages.hops_east_west / 5
    assert terms.hops_north_south == messages.hops_north_south / 5
    assert terms.timesteps == 4


def test_a_core_does_its_neurons_share():
    placement = placed()
    terms = placement_terms(placement, ledger())
    held = {
        tuple(sorted((block.population, block.stop - block.start) for block in core.blocks))
        for core in placement.cores
    }
    assert len(terms.core_counts) == len(held)
    share = {"a": (405_000 - 5_000) / 5 / 2500, "b": 5_000 / 5 / 10}
    expected = sorted(sum(share[name] * size for name, size in core) for core in held)
    assert sorted(each.synaptic_additions for each in terms.core_counts) == pytest.approx(expected)


def test_a_step_lasts_as_long_as_the_barrier_or_the_slowest_core():
    assert step(TERMS) == pytest.approx(113e-9)
    assert step(replace(TERMS, tiles=32)) == pytest.approx(465e-9)
    assert step(replace(TERMS, tiles=40)) == pytest.approx(465e-9)
    assert step(replace(TERMS, tiles=11)) == pytest.approx((113 + (465 - 113) * 10 / 31) * 1e-9)
    assert step(replace(TERMS, tiles=40, chips=2)) == pytest.approx(15e-6)
    quick = Counts(synaptic_additions=40, neuron_updates=8, active_updates=4)
    slow = Counts(synaptic_additions=400, neuron_updates=8, active_updates=4, spikes=4)
    busy = replace(TERMS, core_counts=(quick, slow))
    expected = 100 * 3.5 + 8.4 + 5.3 + 2.1
    assert step(busy) == pytest.approx(expected * 1e-9)
    sanafe = 100 * 3.8 + 2 * 6.0 + 3.7 + 30 + 5.1 + 16
    assert step(busy, SANAFE) == pytest.approx(max(sanafe * 1e-9, 0.6e-6))
    assert step(replace(TERMS, tiles=3), SANAFE) == pytest.approx(1.2e-6)


def test_joules_by_hand():
    found = account(IDLE, LOIHI, placement=TERMS)
    terms = {name: each.value for name, each in found.terms.items() if each.value}
    assert terms == pytest.approx(
        {
            "messages": 10 * 1.7e-12,
            "hops between tiles": (6 * 3.0 + 2 * 4.0) * 1e-12,
            "static power": 3 * 4 * 113e-9 * 0.82e-3,
        }
    )
    assert found.total.value == pytest.approx(sum(terms.values()))
    assert found.layers["a"].value == 0
    assert found.kinds == ("measured", "simulated")
    assert found.family == "simulated"
    assert found.scope == "events, messages and static power"
    assert {each.constant for each in found.sensitivity} >= {
        "static_power_core",
        "barrier_time_1_tile",
        "tile_hop_north_south_energy",
    }
    assert "reset of the chips between samples" in found.excluded
    assert not any("no placement" in each for each in found.excluded)


def test_messages_take_the_place_of_spikes_within_a_tile():
    fired = Ledger({"a": Counts(spikes=7, neuron_updates=7, active_updates=7)}, timesteps=4)
    alone = account(fired, LOIHI)
    assert alone.terms["spike within tile"].value == pytest.approx(7 * 1.7e-12)
    on_chip = account(fired, LOIHI, placement=TERMS)
    assert "spike within tile" not in on_chip.terms
    assert on_chip.terms["messages"].value == pytest.approx(10 * 1.7e-12)


def test_a_profile_without_static_power_leaves_it_out():
    found = account(IDLE, SANAFE, placement=TERMS)
    assert "static power" not in found.terms
    assert found.terms["messages"].value == pytest.approx(10 * 111e-12)
    assert found.kinds == ("calibrated",)
    assert "static power, for which there is no figure" in found.excluded


def test_a_placed_network_is_exactly_1_of_itself():
    terms = placement_terms(placed(), ledger())
    found = ratio(ledger(), ledger(), LOIHI, placement=terms, other_placement=terms)
    assert found == (1, 1, 1)


def test_what_is_missing_is_named():
    with pytest.raises(UsageError, match="knows no messages: give `place` the spikes"):
        placement_terms(place(graph(), LOIHI), ledger())
    layers = {name: counts for name, counts in ledger().layers.items() if name != "b"}
    with pytest.raises(UsageError, match="Population 'b' of the placement is not in the ledger"):
        placement_terms(placed(), Ledger(layers))
