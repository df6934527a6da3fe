"""GRSNN: its size, its two ways to run, and that it learns from arrival times."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuro.graph import GRSNN, spiking_steps
from neuro.graph.spiking_steps import Stepped, run_steps
from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import unpack

PLUS = {"self_connection": True, "relation_weight": True, "layer_norm": True}


def random_graph(nodes: int, edges: int, relations: int, seed: int = 0) -> RelationalGraph:
    generator = torch.Generator().manual_seed(seed)
    sources, destinations = (torch.randint(nodes, (edges,), generator=generator) for _ in range(2))
    kinds = torch.randint(relations, (edges,), generator=generator)
    return RelationalGraph.of(sources, kinds, destinations, nodes=nodes)


def lively(model: GRSNN, seed: int = 0) -> GRSNN:
    """Weights with which spikes travel; delays of all lengths."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=generator))
        model.linear.weight.abs_()
    return model.double()


@pytest.mark.parametrize(
    ("relations", "options", "size"),
    [
        (474, {}, 520_993),
        (22, {}, 29_217),
        (474, {**PLUS, "aggregate": "pna"}, 1_033_889),
        (22, PLUS, 53_537),
    ],
)
def test_number_of_parameters(relations, options, size):
    assert sum(p.numel() for p in GRSNN(relations, **options).parameters()) == size


def test_read_out_sums_to_one_and_favours_early_spikes():
    read_out = GRSNN(1).read_out.double()
    assert float(read_out.sum()) == pytest.approx(1)
    assert 1 / float(read_out[0]) == pytest.approx(8.0253, abs=1e-4)
    assert (read_out.diff() < 0).all()


def by_steps(model: GRSNN, graph: RelationalGraph, heads: Tensor, relations: Tensor) -> Stepped:
    drive, delay, _ = model.entering(relations)
    parts = (delay, None, model.linear, None, model.read_out.double(), model.steps)
    return run_steps(graph, heads, drive, *parts)


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize("not_delay", [True, False])
@pytest.mark.parametrize("boundary_query", [True, False])
def test_the_kernel_equals_the_steps_in_spikes_and_every_gradient(
    dependent, not_delay, boundary_query
):
    model = lively(
        GRSNN(
            6,
            hidden=9,
            dependent=dependent,
            not_delay=not_delay,
            boundary_query=boundary_query,
        )
    )
    graph = random_graph(40, 160, 6)
    heads, relations = torch.tensor([0, 7, 7, 39]), torch.tensor([5, 0, 1, 1])
    spikes = model(graph, heads, relations, keep_spikes=True)
    decoded, counts, trains, *_ = by_steps(model, graph, heads, relations)
    assert 0.03 < model.firing_rate(spikes) < 0.8
    assert torch.equal(spikes.trains, trains)
    assert torch.equal(spikes.counts, counts)
    torch.testing.assert_close(spikes.decoded, decoded)
    wanted = torch.randn(decoded.shape, dtype=torch.float64)
    trained = [p for name, p in model.named_parameters() if not name.startswith("mlp")]
    found, expected = (
        torch.autograd.grad((each * wanted).sum(), trained, allow_unused=True)
        for each in (spikes.decoded, decoded)
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            torch.testing.assert_close(mine, theirs)
            assert not_delay or mine.abs().max() > 0


@pytest.mark.parametrize("aggregate", ["sum", "pna"])
def test_plus_in_pieces_equals_plus_at_once(aggregate, monkeypatch):
    model = lively(GRSNN(4, hidden=5, aggregate=aggregate, **PLUS))
    graph = random_graph(20, 60, 4)
    heads, relations = torch.tensor([3, 8]), torch.tensor([0, 3])

    def outcome() -> list[Tensor]:
        model.zero_grad()
        spikes = model(graph, heads, relations)
        spikes.decoded.square().sum().backward()
        used = [p for name, p in model.named_parameters() if not name.startswith("mlp")]
        return [spikes.decoded.detach(), *(p.grad.clone() for p in used)]

    at_once = outcome()
    assert float(at_once[0].mean()) > 0
    assert all(float(each.abs().max()) > 0 for each in at_once)
    monkeypatch.setattr(spiking_steps, "_PIECE", 1)
    for mine, theirs in zip(outcome(), at_once, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_pna_of_messages_by_hand():
    graph = RelationalGraph.of(
        torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0]), torch.tensor([3, 3, 0]), nodes=4
    )
    (piece,) = spiking_steps._cut(graph, 1)
    options = GRSNN(1, hidden=1, aggregate="pna").steps
    # in the order of destinations: 2 -> 0, then 0 -> 3 and 1 -> 3
    message = torch.tensor([2.0, 1.0, 5.0]).view(3, 1, 1)
    heard = spiking_steps._scaled(graph, spiking_steps._aggregate(piece, message, options))
    logs = [math.log(degree + 1) for degree in (1, 1, 1, 0)]  # edges out, and one
    scale = logs[3] / (sum(logs) / 4)
    of_3 = [6.0, 5.0, 1.0, 1e-3 if 26 - 36 < 1e-6 else 0.0]
    expected = [*of_3, *(scale * x for x in of_3), *(x / max(scale, 1e-2) for x in of_3)]
    torch.testing.assert_close(heard[3, 0], torch.tensor(expected))
    assert heard[1, 0, :3].tolist() == [0, 0, 0]  # heard nothing


def test_exact_delays_are_for_plain_sums_alone():
    model = GRSNN(2, delay_gradient="exact", **PLUS)
    with pytest.raises(ValueError, match="exact"):
        model(random_graph(5, 9, 2), torch.tensor([0]), torch.tensor([1]))


def test_spike_trains_are_returned_where_they_are_asked_for():
    model, graph = GRSNN(3), random_graph(5, 9, 3)
    asked = torch.tensor([2]), torch.tensor([1])
    with pytest.raises(ValueError, match="keep_spikes=True"):
        _ = model(graph, *asked).trains
    assert model(graph, *asked, keep_spikes=True).trains.shape == (1, 5, 10, 1)


def test_without_a_query_the_head_surely_fires_and_the_embedding_is_taken_off():
    model = GRSNN(3, boundary_query=False)
    graph = random_graph(5, 9, 3)
    heads, relations = torch.tensor([2]), torch.tensor([1])
    spikes = model(graph, heads, relations, keep_spikes=True)
    assert torch.equal(spikes.trains[0, 2, 0], torch.tensor([-1], dtype=torch.int32))  # all 32
    logits = model.score(spikes, heads, relations, torch.tensor([[4, 2]]))
    expected = model.mlp(spikes.decoded[0, [4, 2]] - model.query(relations))[:, 0]
    torch.testing.assert_close(logits[0], expected)


def test_all_spikes_are_read_out_alike_from_the_kernel_and_the_steps():
    model = lively(GRSNN(6, hidden=9, timesteps=7, concat_hidden=True))
    assert model.mlp[0].weight.shape == (8 * 9, 8 * 9)
    graph = random_graph(40, 160, 6)
    heads, relations = torch.tensor([0, 7, 39]), torch.tensor([5, 0, 1])
    candidates = torch.tensor([[0, 3, 39], [7, 8, 9], [39, 1, 2]])
    stepped = model(graph, heads, relations)
    logits = model.score(stepped, heads, relations, candidates)
    with torch.no_grad():
        fused = model(graph, heads, relations)
        assert (fused.spikes, fused.potential) == (None, None)
        assert torch.equal(fused.trains, stepped.trains)
        torch.testing.assert_close(model.score(fused, heads, relations, candidates), logits)
    # by hand: bit k of step t of node 8 in the second query, then q
    bits = unpack(fused.trains[1, 8], 9).double()
    assert 0 < bits.mean() < 1
    expected = model.mlp(torch.cat([bits.flatten(), model.scaled_query(relations)[1]]))
    torch.testing.assert_close(logits[1, 1], expected[0])


def test_credit_of_read_out_spikes_is_that_of_z_where_the_mlp_reads_no_more():
    model = lively(GRSNN(6, hidden=9, timesteps=7, concat_hidden=True))
    graph = random_graph(40, 160, 6)
    heads, relations = torch.tensor([0, 7]), torch.tensor([5, 0])
    nodes = torch.arange(40).expand(2, -1)
    wanted = torch.randn(2, 40, 9, dtype=torch.float64)
    read = model._read(model(graph, heads, relations), nodes).view(2, 40, 7, 9)
    decoded = torch.einsum("t,bntk->bnk", model.read_out.double(), read)
    trained = [
        model.linear.weight,
        model.linear.bias,
        model.query.weight,
        *model.delay_map.parameters(),
    ]
    found = torch.autograd.grad((decoded * wanted).sum(), trained)
    plain = lively(GRSNN(6, hidden=9, timesteps=7))
    plain.load_state_dict(
        {k: v for k, v in model.state_dict().items() if "mlp" not in k}, strict=False
    )
    assert not plain.beyond_kernel(gradients=True)
    trained = [
        plain.linear.weight,
        plain.linear.bias,
        plain.query.weight,
        *plain.delay_map.parameters(),
    ]
    of_kernel = plain(graph, heads, relations).decoded
    expected = torch.autograd.grad((of_kernel * wanted).sum(), trained)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.abs().max() > 0


def test_the_potential_after_the_last_reset_is_regularised_above_a_fifth():
    graph = RelationalGraph.of(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), nodes=2)
    ask = graph, torch.tensor([0]), torch.tensor([0])
    model = GRSNN(1, hidden=1, timesteps=3, m_regularization=0.5).double()
    decay, gain = math.exp(-1 / 4), math.e / 4
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.query.weight.fill_(0.25)  # q = 1.25: the head fires at t = 1, where u = 2.22
        model.linear.bias.fill_(-0.1)
    # node 0: no message, u = q, then reset, then decay 0 + I + q; node 1: the same without q
    i1 = gain * -0.1
    i2 = decay * i1 + gain * -0.1
    charged = decay * 1.25 + i1 + 1.25
    assert charged >= 2
    of_head, of_other = i2 + 1.25, decay * i1 + i2
    spikes = model(*ask)
    mean = (abs(of_head) + abs(of_other)) / 2
    assert float(spikes.potential.detach()) == pytest.approx(mean)
    penalty = model.penalty(spikes)
    assert float(penalty.detach()) == pytest.approx(0.5 * mean)
    (slope,) = torch.autograd.grad(penalty, model.linear.bias, retain_graph=True)
    assert slope.abs() > 0
    with torch.no_grad():
        assert model.penalty(model(*ask)) is None  # the kernel's own run
    with torch.no_grad():
        model.query.weight.fill_(-0.95)  # q = 0.05
        model.linear.bias.fill_(0.0)
    calm = model(*ask)
    assert 0 < float(calm.potential.detach()) < 0.2
    assert float(model.penalty(calm).detach()) == 0.0
    assert GRSNN(1).penalty(GRSNN(1)(*ask)) is None


def test_why_it_does_not_run_in_the_kernel_is_told():
    assert GRSNN(2, boundary_query=False, not_delay=True).beyond_kernel(gradients=True) == ()
    for option, value in (("concat_hidden", True), ("m_regularization", 0.1)):
        model = GRSNN(2, **{option: value})
        assert model.beyond_kernel(gradients=False) == ()
        (reason,) = model.beyond_kernel(gradients=True)
        assert reason.startswith(f"{option} wants")
    reasons = GRSNN(2, **PLUS, aggregate="pna").beyond_kernel(gradients=False)
    assert [reason.split(" is ")[0] for reason in reasons] == [
        "relation_weight",
        "self_connection",
        "layer_norm",
        'aggregate="pna"',
    ]


@pytest.mark.parametrize("concat_hidden", [False, True])
def test_symmetric_scores_do_not_know_the_order(concat_hidden):
    model = lively(GRSNN(1, hidden=8, concat_hidden=concat_hidden))
    graph = random_graph(12, 40, 1)
    ends = torch.tensor([1, 2, 3]), torch.tensor([5, 5, 9])
    none = torch.zeros(3, dtype=torch.int64)
    forth = model.score_symmetric(graph, ends[0], none, ends[1])
    back = model.score_symmetric(graph, ends[1], none, ends[0])
    torch.testing.assert_close(forth, back)
    assert forth.unique().numel() == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"timesteps": -1}, "timesteps must be at least 1, got -1"),
        ({"tau": 0.0}, "tau must be above 0, got 0"),
        ({"delay_bound": -1}, "delay_bound must be at least 0"),
        ({"m_regularization": -1.0}, "m_regularization must be at least 0, got -1"),
        ({"concat_hidden": True, "boundary_query": False}, "concat_hidden needs boundary_query"),
        ({"aggregate": "max"}, "unknown aggregate 'max'; has sum, pna"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        GRSNN(2, **wrong)


@pytest.mark.parametrize(
    "options", [{}, {"delay_gradient": "exact"}, PLUS, {"concat_hidden": True}]
)
def test_it_learns_which_of_two_neighbours_a_relation_means(options):
    torch.manual_seed(0)
    # relation 0 leads from hub i to node 2i + 1, relation 1 to node 2i + 2; no entity is alike
    pairs = [(3 * i, r, 3 * i + 1 + r) for i in range(12) for r in (0, 1)]
    sources, kinds, destinations = torch.tensor(pairs).unbind(1)
    graph = RelationalGraph.of(sources, kinds, destinations, nodes=36)
    model = GRSNN(2, hidden=16, timesteps=8, **options)
    with torch.no_grad():
        model.linear.bias.fill_(0.05)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    candidates = torch.stack([sources + 1, sources + 2], 1)
    losses = []
    for _ in range(120):
        logits = model.score(model(graph, sources, kinds), sources, kinds, candidates)
        loss = functional.cross_entropy(logits, kinds)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 < losses[0]
    assert (logits.argmax(1) == kinds).all()
