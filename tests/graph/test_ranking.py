import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import DataError
from neuro.graph import (
    KnownAnswers,
    Ranks,
    both_sides,
    filtered_ranks,
    link_metrics,
    ranking_metrics,
)
from neuro.graph.ranking import expected_hits

ENTITIES, RELATIONS = 6, 2
node = st.integers(0, ENTITIES - 1)
triples = st.lists(
    st.tuples(node, st.integers(0, RELATIONS - 1), node), min_size=1, max_size=20, unique=True
)


def rank_by_hand(scores, triple, facts, side, count_itself):
    """Pessimistic and optimistic rank and number of rivals, one candidate at a time."""
    head, relation, tail = triple
    answer = (head, tail)[side]
    above = ties = rivals = 0
    for other in range(ENTITIES):
        changed = (other, relation, tail) if side == 0 else (head, relation, other)
        itself = other == answer
        if (changed in facts and not itself) or (itself and (changed in facts or not count_itself)):
            continue
        rivals += 1
        above += scores[other] > scores[answer]
        ties += scores[other] == scores[answer]
    return 1 + above + ties, 1 + above, rivals


@given(triples, triples, st.integers(0, 2**31), st.booleans())
def test_ranks_equal_those_counted_by_hand_on_both_sides(facts, asked, seed, count_itself):
    queries = both_sides(torch.tensor(asked), relations=RELATIONS)
    # Few levels, so that ties abound.
    scores = torch.randint(
        4, (2 * len(asked), ENTITIES), generator=torch.Generator().manual_seed(seed)
    ).float()
    known = KnownAnswers.both_ways(torch.tensor(facts), entities=ENTITIES, relations=RELATIONS)
    ranks = filtered_ranks(
        scores,
        queries.answers,
        known.mask(queries.sources, queries.relations),
        count_itself=count_itself,
    )
    expected = [
        rank_by_hand(scores[row].tolist(), triple, set(facts), side, count_itself)
        for row, (side, triple) in enumerate([(side, t) for side in (1, 0) for t in asked])
    ]
    assert list(zip(*(column.tolist() for column in ranks), strict=True)) == expected
    assert torch.equal(ranks.realistic, (ranks.pessimistic + ranks.optimistic) / 2)


def test_ties_by_hand():
    scores = torch.tensor([[5.0, 3.0, 3.0, 3.0, 1.0, 9.0]])
    known = torch.tensor([[False, False, True, False, False, True]])  # 2 ties, 9 is above
    ranks = filtered_ranks(scores, torch.tensor([2]), known)
    assert [ranks.by(ties).item() for ties in ("pessimistic", "realistic", "optimistic")] == [
        4,
        3,
        2,
    ]
    assert ranks.candidates.tolist() == [4]


def test_when_all_scores_are_equal_the_pessimistic_rank_is_last():
    ranks = filtered_ranks(torch.zeros(1, 9), torch.tensor([4]), torch.zeros(1, 9).bool())
    assert (ranks.pessimistic.item(), ranks.realistic.item(), ranks.optimistic.item()) == (9, 5, 1)


def test_an_answer_counted_against_itself_is_never_first_unless_it_is_known():
    scores, answer = torch.tensor([[2.0, 9.0, 1.0]]), torch.tensor([1])
    unknown = torch.zeros(1, 3, dtype=torch.bool)
    masked = filtered_ranks(scores, answer, unknown)
    counted = filtered_ranks(scores, answer, unknown, count_itself=True)
    assert (masked.pessimistic.item(), masked.candidates.item()) == (1, 2)
    assert (counted.pessimistic.item(), counted.candidates.item()) == (2, 3)
    assert ranking_metrics(masked).hits_at_1 == 1
    assert ranking_metrics(counted)[:3] == (0.5, 2, 0)
    known = torch.tensor([[False, True, False]])
    assert filtered_ranks(scores, answer, known, count_itself=True).pessimistic.item() == 1


def test_nan_has_no_rank_and_shapes_must_agree():
    known = torch.zeros(1, 2, dtype=torch.bool)
    with pytest.raises(DataError, match="NaN"):
        filtered_ranks(torch.tensor([[math.nan, 0.0]]), torch.tensor([1]), known)
    with pytest.raises(DataError, match="must be"):
        filtered_ranks(torch.zeros(1, 3), torch.tensor([1]), known)
    with pytest.raises(DataError, match="must be"):
        filtered_ranks(torch.zeros(1, 2), torch.tensor([1, 0]), known)


def test_metrics_by_hand():
    ranks = Ranks(
        torch.tensor([1.0, 2.0, 4.0, 20.0], dtype=torch.float64),
        torch.ones(4, dtype=torch.float64),
        torch.tensor([100] * 4),
    )
    metrics = ranking_metrics(ranks)
    assert metrics.mrr == pytest.approx((1 + 0.5 + 0.25 + 0.05) / 4)
    assert metrics.mr == 6.75
    assert (metrics.hits_at_1, metrics.hits_at_3, metrics.hits_at_10) == (0.25, 0.5, 0.75)
    assert ranking_metrics(ranks, "optimistic").mrr == 1
    assert ranking_metrics(ranks, "realistic").mr == (1 + 1.5 + 2.5 + 10.5) / 4
    with pytest.raises(DataError, match="no query"):
        ranking_metrics(Ranks(*(column[:0] for column in ranks)))


@pytest.mark.parametrize(
    ("rank", "candidates", "chance"),
    [
        (1, 99, 1.0),
        (1, 0, 1.0),
        (100, 99, 0.0),
        # p = 1/2: the lower tail of 50 coin tosses, sum of C(50, 0..9) / 2^50
        (51, 100, sum(math.comb(50, i) for i in range(10)) / 2**50),
    ],
)
def test_expected_hits_at_ends_and_at_one_half(rank, candidates, chance):
    hits = expected_hits(torch.tensor([rank]), torch.tensor([candidates]))
    assert hits.item() == pytest.approx(chance, rel=1e-12)


def test_expected_hits_are_those_of_drawn_negatives():
    rank, candidates = 31, 200
    drawn = torch.rand(100_000, 50, generator=torch.Generator().manual_seed(0)) * candidates
    share = ((drawn < rank - 1).sum(1) < 10).double().mean()
    chance = expected_hits(torch.tensor([rank]), torch.tensor([candidates]))
    assert chance.item() == pytest.approx(share.item(), abs=0.005)  # four deviations


def test_link_metrics_by_hand():
    # Pairs ranked right: 1 > all 3, 0.5 > one of 3, tie with one: (3 + 1.5) / 6.
    metrics = link_metrics(torch.tensor([1.0, 0.5]), torch.tensor([0.7, 0.5, 0.1]))
    assert metrics.auroc == pytest.approx(4.5 / 6)
    # Precision 1 at the first truth, 2/4 at the second's level.
    assert metrics.average_precision == pytest.approx((1 + 0.5) / 2)


def test_link_metrics_need_scores_that_are_numbers():
    with pytest.raises(DataError, match="needs scores"):
        link_metrics(torch.tensor([1.0]), torch.tensor([]))
    with pytest.raises(DataError, match="NaN"):
        link_metrics(torch.tensor([1.0]), torch.tensor([math.nan]))
