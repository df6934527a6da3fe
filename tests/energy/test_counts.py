"""Ledgers: sums, means and what spikes drive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.energy import Counts, Ledger, layer_norm, linear

NUMBERS = st.integers(0, 1000)
COUNTS = st.builds(Counts, spikes=NUMBERS, synaptic_additions=NUMBERS, macs=NUMBERS)
LEDGERS = st.dictionaries(st.sampled_from("abc"), COUNTS).flatmap(
    lambda layers: st.builds(
        Ledger,
        st.just(layers),
        st.frozensets(st.sampled_from(sorted(layers) or ["a"])).filter(
            lambda driven: driven <= layers.keys()
        ),
    )
)


@given(one=LEDGERS, other=LEDGERS)
def test_totals_add_up_layer_by_layer(one, other):
    assert (one + other).total == one.total + other.total
    assert (one + other).layers == (other + one).layers
    for name in (one + other).layers:
        parts = [ledger.layers[name] for ledger in (one, other) if name in ledger.layers]
        assert (one + other).layers[name] == sum(parts[1:], parts[0])


@given(ledger=LEDGERS)
def test_the_mean_of_equal_queries_is_one_of_them(ledger):
    assert (ledger + ledger + ledger).over(3) == ledger


def test_driven_layers_are_totalled_apart():
    layers = {"messages": Counts(synaptic_additions=3), "neurons": Counts(macs=5, spikes=2)}
    ledger = Ledger(layers, frozenset({"messages"}))
    assert ledger.driven_total == Counts(synaptic_additions=3)
    assert ledger.total == Counts(synaptic_additions=3, macs=5, spikes=2)
    assert ledger.to_json() == {
        "messages": {"synaptic_additions": 3},
        "neurons": {"spikes": 2, "macs": 5},
    }


def test_a_ledger_is_closed_to_changes():
    layers = {"a": Counts()}
    ledger = Ledger(layers)
    layers["b"] = Counts()
    assert ledger.layers.keys() == {"a"}
    with pytest.raises(TypeError):
        ledger.layers["b"] = Counts()  # type: ignore[index]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="macs must be at least 0, got -1"):
        Counts(macs=-1)
    with pytest.raises(ValueError, match="spikes must be at least 0, got nan"):
        Counts(spikes=float("nan"))
    with pytest.raises(ValueError, match=r"driven names \['b'\], which are no layers"):
        Ledger({"a": Counts()}, frozenset("b"))


def test_closed_forms_by_hand():
    assert linear(2, 3, 5) == Counts(macs=30)
    # of 4 numbers: 4 to sum, 1/d, 4 to centre, 4 squares, 1/d, epsilon, root, 4 scaled, 4 affine
    assert layer_norm(1, 4) == Counts(additions=9, multiplications=6, macs=8, functions=1)
