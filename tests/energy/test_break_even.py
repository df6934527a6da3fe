"""Break-even rates solve the equation they are defined by."""

import pytest
import torch

from neuro.energy.counting.network import count_network
from neuro.energy.counts import Counts, Facts, Ledger
from neuro.energy.pricing.break_even import break_even, neurons_behind
from neuro.errors import UsageError
from neuro.layers import Add, Linear, Network, Node, Scale, Spiking
from neuro.neurons import LIF

AC, MAC, STEP = 0.9, 4.6, 2.0


def price(ledger: Ledger) -> dict[str, float]:
    return {
        name: AC * (counts.synaptic_additions + counts.bias_additions)
        + MAC * counts.macs
        + STEP * counts.neuron_updates
        + 0.1 * counts.comparisons
        for name, counts in ledger.layers.items()
    }


def network(bias: bool = True) -> Network:
    torch.manual_seed(0)
    nodes = [
        Node("one", Linear(6, 8)),
        Node("lif", Spiking(LIF())),
        Node("two", Linear(8, 5, bias=bias)),
        Node("lif2", Spiking(LIF())),
        Node("out", Linear(5, 3)),
    ]
    return Network(nodes, (6,))


def spiking(timesteps: int = 4, rate: float = 0.25, samples: int = 1) -> Ledger:
    """Counts of the layers of ``network`` by hand, of which ``two`` hears spikes."""
    heard = rate * 8 * timesteps * samples
    facts = {
        "one": Facts(kind="linear", signal="real", dense=48),
        "two": Facts(kind="linear", signal="binary", dense=40),
        "out": Facts(kind="linear", signal="binary", dense=15),
    }
    biases = 5 * timesteps * samples
    layers = {
        "one": Counts(macs=48 * timesteps * samples),
        "lif": Counts(neuron_updates=8 * timesteps * samples),
        "two": Counts(
            spikes_in=heard,
            synaptic_additions=5 * heard,
            bias_additions=biases,
            weight_reads=5 * heard + biases,
            state_reads=5 * heard + biases,
            state_writes=5 * heard + biases,
            activation_reads=heard,
        ),
        "lif2": Counts(neuron_updates=5 * timesteps * samples, comparisons=5 * timesteps * samples),
        "out": Counts(),
    }
    return Ledger(layers, facts=facts, samples=samples, timesteps=timesteps)


def other() -> Ledger:
    layers = {
        "one": Counts(macs=48),
        "lif": Counts(comparisons=8),
        "two": Counts(macs=40, bias_additions=5),
        "lif2": Counts(comparisons=5),
        "out": Counts(macs=15, bias_additions=3),
    }
    return Ledger(layers)


def test_rates_are_those_of_the_closed_form():
    (found,) = break_even(network(), spiking(), other(), price)
    assert found.layer == "two"
    assert found.rate == pytest.approx(0.25)
    full = AC * 40 * 4
    theirs, fixed = MAC * 40 + AC * 5, AC * 5 * 4
    assert found.synapse == pytest.approx((theirs - fixed) / full)
    neurons = STEP * 5 * 4 + 0.1 * 5 * 4 - 0.1 * 5
    assert found.with_neurons == pytest.approx((theirs - fixed - neurons) / full)


@pytest.mark.parametrize("samples", [1, 7])
@pytest.mark.parametrize("rate", [0.05, 0.25, 0.9])
def test_at_the_break_even_rate_both_cost_the_same(rate, samples):
    (found,) = break_even(network(), spiking(rate=rate, samples=samples), other(), price)
    assert found.rate == pytest.approx(rate)
    ours = price(spiking(rate=found.synapse))
    theirs = price(other())
    assert ours["two"] == pytest.approx(theirs["two"])
    ours = price(spiking(rate=found.with_neurons))
    assert ours["two"] + ours["lif2"] == pytest.approx(theirs["two"] + theirs["lif2"])


def test_the_rate_does_not_depend_on_the_rate_that_was_seen():
    rates = {
        round(break_even(network(), spiking(rate=rate), other(), price)[0].synapse, 12)
        for rate in (0.01, 0.3, 1.0)
    }
    assert len(rates) == 1


def test_the_other_may_have_prices_of_its_own():
    def cheap(ledger: Ledger) -> dict[str, float]:
        return {name: joules / 10 for name, joules in price(ledger).items()}

    (found,) = break_even(network(), spiking(), other(), price, cheap)
    fixed, theirs = AC * 5 * 4, (MAC * 40 + AC * 5) / 10
    assert found.synapse == pytest.approx((theirs - fixed) / (AC * 40 * 4))


def test_what_is_fixed_may_cost_too_much_already():
    def dear_steps(ledger: Ledger) -> dict[str, float]:
        return {
            name: joules + 1000 * ledger.layers[name].neuron_updates
            for name, joules in price(ledger).items()
        }

    (found,) = break_even(network(), spiking(), other(), dear_steps)
    assert found.synapse is not None
    assert found.with_neurons is None
    assert found.to_json()["with_neurons"] is None


def test_layers_that_no_spike_reached_are_left_out():
    assert break_even(network(), spiking(rate=0), other(), price) == ()


def test_a_layer_that_was_not_counted_is_named():
    layers = {name: counts for name, counts in other().layers.items() if name != "two"}
    with pytest.raises(UsageError, match="two was not counted in both"):
        break_even(network(), spiking(), Ledger(layers), price)


def test_neurons_are_found_behind_sums_and_shared_out():
    torch.manual_seed(0)
    nodes = [
        Node("one", Linear(4, 4)),
        Node("lif", Spiking(LIF())),
        Node("a", Linear(4, 4)),
        Node("b", Linear(4, 4), ("lif",)),
        Node("scaled", Scale(0.5)),
        Node("sum", Add(), ("a", "scaled")),
        Node("lif2", Spiking(LIF())),
        Node("out", Linear(4, 2)),
    ]
    joined = Network(nodes, (4,))
    assert neurons_behind(joined) == {"one": ("lif",), "a": ("lif2",), "b": ("lif2",), "out": ()}
    facts = {name: Facts(kind="linear", signal="binary", dense=16) for name in ("a", "b", "out")}
    facts["one"] = Facts(kind="linear", signal="real", dense=16)
    layers = {name: Counts() for name in joined.nodes}
    layers |= {name: Counts(synaptic_additions=8, spikes_in=2) for name in ("a", "b")}
    layers["lif2"] = Counts(neuron_updates=4)
    ours = Ledger(layers, facts=facts)
    theirs = Ledger({**dict.fromkeys(layers, Counts()), "a": Counts(macs=16), "b": Counts(macs=16)})
    found = break_even(joined, ours, theirs, price)
    assert [each.layer for each in found] == ["a", "b"]
    for each in found:
        assert each.with_neurons == pytest.approx((MAC * 16 - STEP * 4 / 2) / (AC * 16))


def test_counts_of_a_network_that_ran_fit():
    made = network()
    x = 3 * torch.rand(16, 6)
    steps = [x] * 5
    ours = count_network(made.eval(), steps)
    (found, _) = break_even(made, ours, other(), price)
    spikes = ours.layers["lif"].spikes
    assert found.rate == pytest.approx(spikes / (8 * 5 * 16))
    assert found.synapse == pytest.approx((MAC * 40 + AC * 5 - AC * 5 * 5) / (AC * 40 * 5))
