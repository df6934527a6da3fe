import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.graph import KnownAnswers

ENTITIES, RELATIONS = 5, 2
node = st.integers(0, ENTITIES - 1)
triples = st.lists(st.tuples(node, st.integers(0, RELATIONS - 1), node), min_size=1, max_size=30)
# Every query there is, inverses included.
SOURCES = torch.arange(ENTITIES).repeat_interleave(2 * RELATIONS)
KINDS = torch.arange(2 * RELATIONS).repeat(ENTITIES)


def answers_by_hand(facts, source, relation):
    if relation < RELATIONS:
        return {tail for head, kind, tail in facts if (head, kind) == (source, relation)}
    return {head for head, kind, tail in facts if (tail, kind + RELATIONS) == (source, relation)}


def known(facts) -> KnownAnswers:
    return KnownAnswers.both_ways(torch.tensor(facts), entities=ENTITIES, relations=RELATIONS)


@given(triples)
def test_mask_and_contains_tell_the_answers_of_every_query(facts):
    answers = known(facts)
    mask = answers.mask(SOURCES, KINDS)
    for row, (source, relation) in enumerate(zip(SOURCES.tolist(), KINDS.tolist(), strict=True)):
        expected = answers_by_hand(facts, source, relation)
        assert set(mask[row].nonzero().flatten().tolist()) == expected
    everyone = torch.arange(ENTITIES)
    assert torch.equal(answers.contains(SOURCES[:, None], KINDS[:, None], everyone), mask)


@given(triples)
def test_the_unknown_are_selected_in_ascending_order(facts):
    answers = known(facts)
    counts = answers.unknown(SOURCES, KINDS)
    for row, (source, relation) in enumerate(zip(SOURCES.tolist(), KINDS.tolist(), strict=True)):
        expected = sorted(set(range(ENTITIES)) - answers_by_hand(facts, source, relation))
        assert counts[row] == len(expected)
        chosen = answers.select_unknown(
            SOURCES[row : row + 1], KINDS[row : row + 1], torch.arange(len(expected))[None]
        )
        assert chosen.tolist() == [expected]


def test_a_batch_may_repeat_queries_and_may_be_empty():
    answers = known([(0, 1, 3), (0, 1, 4)])
    sources, kinds = torch.tensor([0, 2, 0]), torch.tensor([1, 0, 1])
    assert answers.mask(sources, kinds).int().tolist() == [
        [0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1],
    ]
    assert answers.mask(sources[:0], kinds[:0]).shape == (0, ENTITIES)
