"""What all online rules share: one forward a step, no graph, memory flat in time, update modes."""

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neuro.errors import UsageError
from neuro.layers import Linear, Network, Node, Spiking
from neuro.learning import RULES, CreditProbe, OnlineRule, build_rule
from neuro.learning.bptt import BPTTOptions
from neuro.learning.dfa import DFAOptions
from neuro.learning.dkp import DKPOptions
from neuro.learning.online import Moment, OnlineOptions
from neuro.learning.opzo import OPZOOptions
from neuro.learning.ottt import OTTTOptions
from neuro.learning.zeroth_order import ZeroOrderOptions
from neuro.models import MLP, Conv5, build_model
from neuro.neurons import CubaLIF

ONLINE: dict[str, Any] = {
    "ottt": OTTTOptions(),
    "dfa": DFAOptions(),
    "dkp": DKPOptions(),
    "zo": ZeroOrderOptions(),
    "opzo": OPZOOptions(),
    "ottt, local": OTTTOptions(local_learning=True),
    "opzo, local and intermediate": OPZOOptions(local_learning=True, intermediate_learning=True),
    "opzo, pairs on the membrane": OPZOOptions(noise_at="pre", feedback_update="per_pair"),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled(rule: OnlineRule) -> OnlineRule:
    """Give direct feedback some weights, so that hidden layers learn from the first batch."""
    for feedback in getattr(rule, "feedback", {}).values():
        with torch.no_grad():
            feedback.projection.normal_(generator=seeded(9))
    return rule


def test_every_online_rule_has_a_case() -> None:
    named = {name for name, rule in RULES.items() if issubclass(rule, OnlineRule)}
    assert named == {options.name for options in ONLINE.values()}


class GivenCredit(OnlineRule):
    """A rule whose credit was written down beforehand, step by step."""

    def __init__(self, network: Network, given: list[dict[str, Tensor]]) -> None:
        super().__init__(network, OnlineOptions(mse_weight=0.3), generator=seeded())
        self.given = given

    def credit(self, moment: Moment) -> Mapping[str, Tensor]:
        return self.given[moment.index]


def test_with_the_exact_error_as_credit_the_update_is_that_of_autograd(
    any_network: Network, batch, learn, autograd_ottt
) -> None:
    """A2: direct credit g_l, set to the true error of each layer, gives OTTT's gradients."""
    inputs, targets = batch(any_network, 3)
    ottt = build_rule(any_network, OTTTOptions(mse_weight=0.3), generator=seeded())
    ottt.probe = CreditProbe.empty()
    ottt.learn(iter(inputs), 3, targets, generator=seeded())
    found = learn(GivenCredit(any_network, ottt.probe.exact), None, inputs, targets).gradients
    expected = autograd_ottt(any_network, inputs, targets, 0.3)
    assert found.keys() == expected.keys()
    for name, truth in expected.items():
        assert truth.abs().sum() > 0
        torch.testing.assert_close(found[name], truth, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", [*ONLINE, "bptt"])
def test_nothing_that_comes_out_carries_a_graph(name: str, conv_network, batch, learn) -> None:
    inputs, targets = batch(conv_network, 3)
    options = ONLINE.get(name, BPTTOptions())
    learnt = learn(conv_network, options, inputs, targets)
    outcome = learnt.outcome
    loose = [outcome.loss, outcome.logits, *outcome.firing_rates.values()]
    modules = (conv_network, learnt.rule)
    loose += [p.grad for module in modules for p in module.parameters() if p.grad is not None]
    loose += [buffer for module in modules for buffer in module.buffers()]
    for tensor in loose:
        assert not tensor.requires_grad
        assert tensor.grad_fn is None


@pytest.mark.parametrize("name", ONLINE)
def test_no_graph_is_built_through_the_network(name: str, conv_network, batch) -> None:
    """Every operation on something the size of an activity runs without autograd."""
    inputs, targets = batch(conv_network, 2, size=6)
    rule = build_rule(conv_network, ONLINE[name], generator=seeded()).double()
    saved: list[torch.Size] = []

    def note(tensor: Tensor) -> Tensor:
        saved.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        rule.learn(iter(inputs), 2, targets, generator=seeded())
    weights = {parameter.shape for parameter in conv_network.parameters()}
    # Weight standardisation is differentiated, on the weights alone, nothing else.
    assert all(shape in weights or shape[0] != 6 for shape in saved), saved


class LiveBytes(TorchDispatchMode):
    """Counts bytes of tensor storages that torch makes and frees, and the most alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.note(leaf.untyped_storage())
        return out

    def note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.known:
            return
        size = storage.nbytes()
        self.known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self.forget, key, size)

    def forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.alive -= size


def peak_bytes(options: Any, timesteps: int, *, constant: bool) -> int:
    network = build_model(Conv5(width=1 / 32), (2, 16, 16), 5, seeded())
    rule = build_rule(network, options, generator=seeded())
    generator = seeded(1)
    targets = torch.randint(5, (8,), generator=generator)
    x = torch.randn(8, 2, 16, 16, generator=generator)

    def inputs() -> Iterator[Tensor]:
        for _ in range(timesteps):
            yield x if constant else torch.randn(8, 2, 16, 16, generator=generator)

    with LiveBytes() as live:
        rule.learn(inputs(), timesteps, targets, generator=generator)
    return live.peak


@pytest.mark.parametrize("constant", [False, True], ids=["changing input", "constant input"])
@pytest.mark.parametrize("name", ONLINE)
def test_memory_does_not_grow_with_time(name: str, constant: bool) -> None:
    """A7: the most bytes alive at once are the same for 3 steps and for 15."""
    short, long = (peak_bytes(ONLINE[name], steps, constant=constant) for steps in (3, 15))
    assert short > 100_000  # spikes, potentials and traces of 8 samples are at least that much
    assert long <= 1.01 * short


def test_memory_of_backpropagation_through_time_grows() -> None:
    """The same measure sees what it should where a graph is kept."""
    short, long = (peak_bytes(BPTTOptions(), steps, constant=True) for steps in (3, 15))
    assert long > 2 * short


def stepper(rule: OnlineRule, lr: float = 0.1) -> tuple[Callable[[], None], list[int]]:
    optimiser = torch.optim.SGD(rule.parameter_groups(lr))
    calls: list[int] = []

    def step() -> None:
        calls.append(len(calls))
        optimiser.step()
        optimiser.zero_grad()

    return step, calls


@pytest.mark.parametrize("rule_name", [name for name in RULES if name != "bptt"])
def test_accumulated_and_online_updates_agree_for_one_step(rule_name: str, batch) -> None:
    """A12: the same weights after one SGD step when T = 1."""
    weights = []
    for update in ("accumulate", "online"):
        network = build_model(MLP(hidden=(8, 7)), (5,), 3, seeded()).double()
        options = RULES[rule_name].Options(update=update)
        rule = filled(build_rule(network, options, generator=seeded()).double())
        inputs, targets = batch(network, 1)
        step, calls = stepper(rule)
        online = update == "online"
        rule.learn(inputs, 1, targets, generator=seeded(2), after_step=step if online else None)
        assert len(calls) == online
        if not online:
            step()
        weights.append([p.detach().clone() for p in network.parameters()])
    start = build_model(MLP(hidden=(8, 7)), (5,), 3, seeded()).double()
    for one, other, before in zip(*weights, start.parameters(), strict=True):
        torch.testing.assert_close(one, other)
        assert not torch.equal(one, before)


def test_online_updates_act_on_the_very_next_step(batch) -> None:
    """Three online steps equal three batches of one step, but for state and trace: use T = 1/3."""
    network = build_model(MLP(hidden=(8,), tau=1.0), (5,), 3, seeded()).double()
    # tau = 1: nothing is left of the potential after a step, so every step stands alone.
    inputs, targets = batch(network, 3)
    rule = build_rule(network, OTTTOptions(update="online", mse_weight=0.0), generator=seeded())
    step, calls = stepper(rule)
    rule.learn(iter(inputs), 3, targets, generator=seeded(), after_step=step)
    assert len(calls) == 3
    single = build_model(MLP(hidden=(8,), tau=1.0), (5,), 3, seeded()).double()
    rule = build_rule(single, OTTTOptions(mse_weight=0.0), generator=seeded())
    step, _ = stepper(rule, lr=0.1 / 3)  # the loss of three steps is divided by three
    for x in inputs:
        rule.learn([x], 1, targets, generator=seeded())
        step()
    for ours, theirs in zip(network.parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_online_updates_need_a_callback(dense_network, batch) -> None:
    inputs, targets = batch(dense_network, 2)
    rule = build_rule(dense_network, OTTTOptions(update="online"), generator=seeded())
    with pytest.raises(UsageError, match="needs after_step"):
        rule.learn(inputs, 2, targets, generator=seeded())


def test_inputs_are_read_one_step_at_a_time(dense_network, batch) -> None:
    inputs, targets = batch(dense_network, 3)
    rule = build_rule(dense_network, OTTTOptions(update="online"), generator=seeded())
    order: list[str] = []

    def reading() -> Iterator[Tensor]:
        for x in inputs:
            order.append("read")
            yield x

    rule.learn(reading(), 3, targets, generator=seeded(), after_step=lambda: order.append("step"))
    assert order == ["read", "step"] * 3


@pytest.mark.parametrize("name", ["ottt", "dfa", "dkp", "ottt, local"])
def test_a_batch_given_twice_leaves_the_update_unchanged(
    name: str, conv_network, batch, learn
) -> None:
    """A13: the batch mean enters once. (Rules with noise draw it per sample; see test_opzo.)"""
    inputs, targets = batch(conv_network, 3)
    rule = filled(build_rule(conv_network, ONLINE[name], generator=seeded()).double())
    once = learn(rule, None, inputs, targets)
    doubled = [torch.cat([x, x]) for x in inputs]
    twice = learn(rule, None, doubled, torch.cat([targets, targets]))
    assert set(once.gradients) == {name for name, _ in conv_network.named_parameters()}
    for before, after in (
        (once.gradients, twice.gradients),
        (once.own_gradients, twice.own_gradients),
    ):
        for key, gradient in before.items():
            torch.testing.assert_close(after[key], gradient)
    torch.testing.assert_close(twice.outcome.loss, once.outcome.loss)


@pytest.mark.parametrize("name", ONLINE)
def test_constant_input_gives_the_gradients_of_its_copies(
    name: str, conv_network, batch, learn
) -> None:
    inputs, targets = batch(conv_network, 4, constant=True)
    options = ONLINE[name]
    kept, copied = (
        learn(
            filled(build_rule(conv_network, options, generator=seeded()).double()),
            None,
            steps,
            targets,
        )
        for steps in (inputs, [x.clone() for x in inputs])
    )
    for key, gradient in kept.gradients.items():
        torch.testing.assert_close(copied.gradients[key], gradient, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", ONLINE)
def test_each_batch_starts_from_rest(name: str, dense_network, batch, learn) -> None:
    """No state crosses from one sample to the next."""
    inputs, targets = batch(dense_network, 3)
    rule = filled(build_rule(dense_network, ONLINE[name], generator=seeded()).double())
    state = {key: value.clone() for key, value in rule.state_dict().items()}
    first = learn(rule, None, inputs, targets)
    rule.load_state_dict(state)
    second = learn(rule, None, inputs, targets)
    for key, gradient in first.gradients.items():
        assert torch.equal(second.gradients[key], gradient)


@pytest.mark.parametrize("name", ONLINE)
def test_samples_do_not_touch_each_other_in_the_forward(name: str, dense_network, batch) -> None:
    inputs, _ = batch(dense_network, 3)
    rule = build_rule(dense_network, ONLINE[name], generator=seeded()).double()
    outcome = rule.learn(iter(inputs), 3, torch.tensor([0, 1, 2, 3]), generator=seeded(1))
    relabelled = rule.learn(iter(inputs), 3, torch.tensor([4, 4, 4, 4]), generator=seeded(1))
    assert torch.equal(outcome.logits, relabelled.logits)


@pytest.mark.parametrize("name", ["ottt", "dfa", "dkp"])
def test_outcome_of_a_clean_rule_is_that_of_evaluation(name: str, conv_network, batch) -> None:
    inputs, targets = batch(conv_network, 3)
    rule = build_rule(conv_network, ONLINE[name], generator=seeded()).double()
    outcome = rule.learn(iter(inputs), 3, targets, generator=seeded())
    readout = conv_network.run(inputs)
    torch.testing.assert_close(outcome.logits, readout.logits)
    assert outcome.firing_rates.keys() == readout.firing_rates.keys()
    for layer, rate in readout.firing_rates.items():
        assert float(outcome.firing_rates[layer]) == pytest.approx(float(rate))


@pytest.mark.parametrize("name", ONLINE)
def test_inputs_may_be_strided(name: str, conv_network, batch, learn) -> None:
    inputs, targets = batch(conv_network, 2)
    strided = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in inputs]
    assert not strided[0].is_contiguous()
    plain = learn(conv_network, ONLINE[name], inputs, targets)
    found = learn(conv_network, ONLINE[name], strided, targets)
    for key, gradient in plain.gradients.items():
        torch.testing.assert_close(found.gradients[key], gradient)


@pytest.mark.parametrize("name", ONLINE)
def test_a_batch_of_one_and_a_neuron_with_two_time_constants_train(name: str) -> None:
    network = Network(
        [
            Node("first", Linear(3, 5)),
            Node("lif1", Spiking(CubaLIF(threshold=0.3))),
            Node("second", Linear(5, 4)),
            Node("lif2", Spiking(CubaLIF(threshold=0.3))),
            Node("readout", Linear(4, 2)),
        ],
        (3,),
    )
    rule = filled(build_rule(network, ONLINE[name], generator=seeded()))
    outcome = rule.learn([torch.ones(1, 3)] * 4, 4, torch.tensor([1]), generator=seeded())
    assert torch.isfinite(outcome.loss)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("given", [0, 2, 4])
def test_another_number_of_steps_than_announced_is_refused(
    given: int, dense_network, batch, learn
) -> None:
    inputs, targets = batch(dense_network, 4)
    with pytest.raises(UsageError, match=f"expected 3 time steps of input, got {given}"):
        learn(dense_network, OTTTOptions(), inputs[:given], targets, timesteps=3)


def test_an_input_of_another_shape_is_refused(dense_network) -> None:
    rule = build_rule(dense_network, OTTTOptions(), generator=seeded())
    x = torch.zeros(2, 7, dtype=torch.float64)
    with pytest.raises(UsageError, match=r"got \(7,\)"):
        rule.learn([x], 1, torch.tensor([0, 1]), generator=seeded())


def test_a_network_that_online_rules_cannot_train_is_refused_at_once() -> None:
    network = build_model(MLP(hidden=(4,), learn_decay=True), (3,), 2)
    for name in RULES:
        if name == "bptt":
            continue
        with pytest.raises(UsageError, match="only the rule bptt"):
            build_rule(network, RULES[name].Options(), generator=seeded())


@pytest.mark.parametrize("name", ONLINE)
def test_a_probe_changes_nothing(name: str, conv_network, batch, learn) -> None:
    inputs, targets = batch(conv_network, 3)
    rule = filled(build_rule(conv_network, ONLINE[name], generator=seeded()).double())
    state = {key: value.clone() for key, value in rule.state_dict().items()}
    plain = learn(rule, None, inputs, targets)
    rule.load_state_dict(state)
    rule.probe = CreditProbe.empty()
    probed = learn(rule, None, inputs, targets)
    assert torch.equal(probed.outcome.logits, plain.outcome.logits)
    for key, gradient in plain.gradients.items():
        assert torch.equal(probed.gradients[key], gradient)
    assert len(rule.probe.assigned) == len(rule.probe.exact) == 3


def test_backpropagated_errors_align_fully_with_the_exact_ones(
    any_network, batch, cosines_of
) -> None:
    inputs, targets = batch(any_network, 3)
    rule = build_rule(any_network, OTTTOptions(), generator=seeded())
    cosines = cosines_of(rule, inputs, 3, targets)
    assert cosines == pytest.approx(dict.fromkeys(any_network.neuron_nodes, 1.0))


def test_a_layer_without_credit_counts_as_unaligned() -> None:
    probe = CreditProbe([{}, {"a": torch.tensor([2.0])}], [{"a": torch.tensor([1.0])}] * 2)
    assert probe.cosines() == {"a": 0.5}
