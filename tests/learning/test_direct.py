"""Delay and shared blocks of direct feedback."""

import pytest
import torch

from neuro.errors import UsageError
from neuro.layers import Conv2d, Flatten, Linear, Network, Node, Spiking
from neuro.learning import CreditProbe, build_rule
from neuro.learning.dfa import DFAOptions
from neuro.learning.direct import DirectOptions, blocks_of
from neuro.learning.dkp import DKPOptions
from neuro.learning.opzo import OPZOOptions
from neuro.models import MLP, Conv5, build_model
from neuro.neurons import LIF

DIRECT = {"dfa": DFAOptions, "dkp": DKPOptions, "opzo": OPZOOptions}


def credits(network, options, inputs, targets):
    """The g that each layer got, step by step, with feedback of fixed random values."""
    generator = torch.Generator().manual_seed(0)
    rule = build_rule(network, options, generator=generator).double()
    fill = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for feedback in rule.feedback.values():
            feedback.projection.normal_(generator=fill)
    rule.probe = CreditProbe.empty()
    rule.learn(iter(inputs), len(inputs), targets, generator=generator)
    return rule.probe.assigned


@pytest.mark.parametrize("delay", [1, 2])
@pytest.mark.parametrize("name", DIRECT)
def test_a_delayed_error_is_exactly_the_one_of_some_steps_ago(
    name: str, delay: int, conv_network, batch
) -> None:
    """A11: g[t] = M e[t - delay]; before the first error arrives a layer gets none."""
    fixed = {"freeze_feedback_after": 0} if name == "opzo" else {}
    inputs, targets = batch(conv_network, 5)
    at_once = credits(conv_network, DIRECT[name](**fixed), inputs, targets)
    late = credits(conv_network, DIRECT[name](feedback_delay=delay, **fixed), inputs, targets)
    assert all(not step for step in late[:delay])
    for now, before in zip(late[delay:], at_once, strict=False):
        assert set(now) == set(conv_network.neuron_nodes)
        for layer in now:
            assert torch.equal(now[layer], before[layer])


@pytest.mark.parametrize("name", DIRECT)
def test_training_runs_with_a_delayed_error(name: str, digits, train) -> None:
    """A11."""
    trained = train(DIRECT[name](feedback_delay=2), digits, epochs=3)
    assert sum(trained.losses[-4:]) < 0.7 * sum(trained.losses[:4])


def test_a_delay_longer_than_the_sample_leaves_hidden_layers_alone(
    dense_network, batch, learn
) -> None:
    inputs, targets = batch(dense_network, 3)
    learnt = learn(dense_network, DFAOptions(feedback_delay=3), inputs, targets)
    assert set(learnt.gradients) == {"nodes.readout.weight", "nodes.readout.bias"}


def test_a_delayed_error_does_not_cross_into_the_next_batch(dense_network, batch, learn) -> None:
    inputs, targets = batch(dense_network, 3)
    options = DFAOptions(feedback_delay=1)
    first = learn(dense_network, options, inputs, targets)
    again = learn(first.rule, options, inputs, targets)
    for name, gradient in first.gradients.items():
        assert torch.equal(again.gradients[name], gradient)


def test_a_negative_delay_is_refused(dense_network) -> None:
    with pytest.raises(UsageError, match="feedback_delay must be >= 0, got -1"):
        build_rule(dense_network, DFAOptions(feedback_delay=-1), generator=torch.Generator())


@pytest.mark.parametrize("name", DIRECT)
def test_shared_blocks_make_the_matrices_small(name: str) -> None:
    network = build_model(Conv5(width=1 / 32), (2, 32, 32), 3)
    rule = build_rule(
        network, DIRECT[name](feedback_block=(32, 4, 2, 1)), generator=torch.Generator()
    )
    rows = [feedback.matrix.shape for feedback in rule.feedback.values()]
    assert rows == [(4, 3), (8 * 16, 3), (16 * 16, 3), (16 * 16, 3)]


def test_one_block_side_serves_all_layers_clipped_to_each() -> None:
    network = build_model(Conv5(width=1 / 32), (2, 16, 16), 3)
    rule = build_rule(network, OPZOOptions(feedback_block=(4,)), generator=torch.Generator())
    rows = [feedback.matrix.shape[0] for feedback in rule.feedback.values()]
    assert rows == [4 * 16, 8 * 4, 16, 16]


def test_layers_without_positions_share_nothing() -> None:
    network = build_model(MLP(hidden=(12, 9)), (5,), 3)
    rule = build_rule(network, DFAOptions(feedback_block=(4,)), generator=torch.Generator())
    assert [feedback.matrix.shape for feedback in rule.feedback.values()] == [(12, 3), (9, 3)]


def test_shared_blocks_give_all_positions_of_a_square_one_credit(conv_network, batch) -> None:
    inputs, targets = batch(conv_network, 1)
    (step,) = credits(conv_network, DFAOptions(feedback_block=(1, 4, 2, 1)), inputs, targets)
    tiles = step["lif2"].unflatten(3, (1, 4)).unflatten(2, (1, 4))
    torch.testing.assert_close(tiles, tiles[:, :, :, :1, :, :1].expand_as(tiles))
    assert step["lif2"].abs().sum() > 0


def test_a_list_of_blocks_of_another_length_is_refused(conv_network) -> None:
    with pytest.raises(UsageError, match="lists 3 sides for 4 convolutional layers"):
        build_rule(conv_network, DFAOptions(feedback_block=(1, 2, 2)), generator=torch.Generator())


@pytest.mark.parametrize(
    ("shape", "grid", "block"),
    [((3, 32, 32), 4, 8), ((3, 16, 16), 4, 4), ((3, 4, 4), 4, 1), ((3, 34, 34), 4, 17)],
)
def test_a_feedback_grid_takes_the_smallest_squares_that_fit(
    shape: tuple[int, int, int], grid: int, block: int
) -> None:
    network = Network(
        [
            Node("conv", Conv2d(1, 3, 3, padding=1)),
            Node("lif", Spiking(LIF())),
            Node("flatten", Flatten()),
            Node("out", Linear(3 * shape[1] * shape[2], 2)),
        ],
        (1, *shape[1:]),
    )
    assert blocks_of(network, DirectOptions(feedback_grid=grid)) == {"lif": block}


def test_a_feedback_grid_and_blocks_exclude_each_other() -> None:
    network = Network([Node("out", Linear(2, 2))], (2,))
    with pytest.raises(UsageError, match="without"):
        blocks_of(network, DirectOptions(feedback_grid=2, feedback_block=(2,)))
