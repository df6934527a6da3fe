import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import DataError
from neuro.graph import KnownAnswers, known_links, strict_negative_links, strict_negatives

ENTITIES, RELATIONS = 6, 2
node = st.integers(0, ENTITIES - 2)  # the last one is never a known answer
triples = st.lists(
    st.tuples(node, st.integers(0, RELATIONS - 1), node), min_size=1, max_size=25, unique=True
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def known(facts) -> KnownAnswers:
    return KnownAnswers.both_ways(torch.tensor(facts), entities=ENTITIES, relations=RELATIONS)


@given(triples, st.integers(0, 2**31))
def test_negatives_are_never_training_facts_and_positives_come_first(facts, seed):
    drawn = strict_negatives(torch.tensor(facts), known(facts), negatives=7, generator=seeded(seed))
    assert drawn.candidates.shape == (len(facts), 8)
    rows = drawn.triples(RELATIONS).reshape(len(facts), 8, 3).tolist()
    for fact, (positive, *negatives) in zip(facts, rows, strict=True):
        assert tuple(positive) == fact
        assert not {tuple(negative) for negative in negatives} & set(facts)


@pytest.mark.parametrize(("batch", "tails"), [(5, 2), (4, 2), (1, 0)])
def test_the_first_half_of_a_batch_corrupts_the_tail_the_rest_the_head(batch, tails):
    facts = [(row % 4, 0, (row + 1) % 4) for row in range(4)]
    positives = torch.tensor(facts * 2)[:batch]
    drawn = strict_negatives(positives, known(facts), negatives=3, generator=seeded())
    heads, kinds, ends = positives.unbind(1)
    assert torch.equal(drawn.relations, torch.cat([kinds[:tails], kinds[tails:] + RELATIONS]))
    assert torch.equal(drawn.sources, torch.cat([heads[:tails], ends[tails:]]))
    assert torch.equal(drawn.answers, torch.cat([ends[:tails], heads[tails:]]))


def test_each_wrong_entity_is_drawn_equally_often():
    facts = [(0, 0, 1), (0, 0, 4)]
    positives = torch.tensor([facts[0]] * 2)
    drawn = strict_negatives(positives, known(facts), negatives=40_000, generator=seeded())
    tails = drawn.candidates[0, 1:].bincount(minlength=ENTITIES)
    assert tails[[1, 4]].tolist() == [0, 0]
    # 10,000 each in the mean, standard deviation 87
    assert (tails[[0, 2, 3, 5]] - 10_000).abs().max() < 450
    heads = drawn.candidates[1, 1:].bincount(minlength=ENTITIES)
    assert heads[0] == 0
    assert (heads[1:] - 8_000).abs().max() < 400


def test_truths_that_are_held_out_may_be_drawn():
    training = known([(0, 0, 1)])
    drawn = strict_negatives(
        torch.tensor([[0, 0, 1]] * 2), training, negatives=200, generator=seeded()
    )
    assert set(drawn.candidates[0, 1:].tolist()) == {0, 2, 3, 4, 5}


def test_one_generator_seed_draws_the_same_negatives():
    facts = [(0, 0, 1), (2, 1, 3), (4, 0, 0)]
    first, second, other = (
        strict_negatives(torch.tensor(facts), known(facts), negatives=20, generator=seeded(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first.candidates, second.candidates)
    assert not torch.equal(first.candidates, other.candidates)


def test_a_query_that_everyone_answers_has_no_negative_and_says_so():
    facts = [(0, 1, tail) for tail in range(ENTITIES)]
    with pytest.raises(DataError, match=r"Every one of the 6 .* \(source 0, relation 1, "):
        strict_negatives(torch.tensor(facts), known(facts), negatives=1, generator=seeded())


def test_wrong_input_is_refused():
    facts = known([(0, 0, 1)])
    with pytest.raises(DataError, match="at least 1, got 0"):
        strict_negatives(torch.tensor([[0, 0, 1]]), facts, negatives=0)
    with pytest.raises(DataError, match=r"relations span 2..2"):
        strict_negatives(torch.tensor([[0, 2, 1]]), facts, negatives=1)


def test_every_unlinked_pair_is_equally_likely_to_be_a_wrong_link():
    links = torch.tensor([[0, 0, 1], [2, 0, 0], [3, 0, 0]])  # node 0 is linked to all others
    drawn = strict_negative_links(known_links(links, nodes=4), 30_000, generator=seeded())
    assert drawn.shape == (30_000, 3)
    assert not drawn[:, 1].any()
    counts = torch.zeros(4, 4)
    counts.index_put_((drawn[:, 0], drawn[:, 2]), torch.tensor(1.0), accumulate=True)
    # Heads 1, 2, 3 have N - degree - 1 = 2 wrong tails each: 5,000 a pair, deviation 65.
    free = torch.zeros(4, 4, dtype=torch.bool)
    free[1:, 1:] = ~torch.eye(3, dtype=torch.bool)
    assert counts[~free].sum() == 0
    assert (counts[free] - 5_000).abs().max() < 350


def test_a_complete_graph_has_no_wrong_link_and_says_so():
    links = torch.tensor([[0, 0, 1], [1, 0, 2], [0, 0, 2]])
    with pytest.raises(DataError, match="linked to every other"):
        strict_negative_links(known_links(links, nodes=3), 1)
