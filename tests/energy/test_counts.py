"""Ledgers: sums, means and what spikes drive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.energy import Counts, Facts, Ledger, layer_norm, linear

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


def test_columns_are_disjoint_and_each_costs_once():
    counts = Counts(
        synaptic_additions=1, additions=2, bias_additions=4, resets=8, macs=16, decays=32
    ) + Counts(multiplications=64)
    assert counts.all_additions == 1 + 2 + 4 + 8 + 16
    assert counts.all_multiplications == 16 + 32 + 64
    events = Counts(spikes=1, spikes_in=1, neuron_updates=1, delay_pushes=1, weight_reads=1)
    assert events.all_additions == events.all_multiplications == 0


def test_active_updates_are_updates():
    with pytest.raises(ValueError, match="active_updates 3 of 2 neuron_updates"):
        Counts(neuron_updates=2, active_updates=3)


FACTS = Facts(kind="linear", signal="binary", parameters=12, kernel=(3, 3))


def test_samples_add_up_and_a_mean_is_of_one():
    one = Ledger({"a": Counts(macs=6)}, facts={"a": FACTS}, samples=2, timesteps=3)
    both = one + one
    assert (both.samples, both.timesteps, both.facts["a"], both.parameters) == (4, 3, FACTS, 12)
    assert both.per_sample == one.per_sample
    assert both.per_sample.total.macs == 3
    assert Ledger({}) + one == one + Ledger({}) == one


def test_steps_add_up_step_by_step():
    def of(*numbers: int) -> Ledger:
        steps = tuple(Ledger({"a": Counts(macs=number)}) for number in numbers)
        return Ledger({"a": Counts(macs=sum(numbers))}, timesteps=2, steps=steps)

    both = of(1, 2) + of(10, 20)
    assert [step.total.macs for step in both.steps] == [11, 22]
    assert [step.total.macs for step in both.per_sample.steps] == [5.5, 11]


def test_ledgers_of_different_networks_are_not_added():
    one = Ledger({"a": Counts()}, facts={"a": FACTS})
    with pytest.raises(ValueError, match="two layers are called 'a'"):
        one + Ledger({"a": Counts()}, facts={"a": Facts(kind="linear")})
    with pytest.raises(ValueError, match="1 time steps cannot be added to 2"):
        one + Ledger({"a": Counts()}, timesteps=2)
    with pytest.raises(ValueError, match="facts names"):
        Ledger({"a": Counts()}, facts={"b": FACTS})
    with pytest.raises(ValueError, match="samples must be at least 1"):
        Ledger({}, samples=0)
    with pytest.raises(ValueError, match="1 steps for 2 timesteps"):
        Ledger({}, timesteps=2, steps=(Ledger({}),))


def test_facts_as_json():
    assert FACTS.to_json()["kernel"] == [3, 3]
    assert FACTS.to_json()["constant"] is False
