import torch

from neuro.graph import Queries, both_sides, head_queries, tail_queries

TRIPLES = torch.tensor([[1, 0, 2], [3, 1, 0]])


def test_a_question_for_the_head_is_an_inverse_tail_query():
    asked = head_queries(TRIPLES, relations=2)
    assert asked.sources.tolist() == [2, 0]
    assert asked.relations.tolist() == [2, 3]
    assert asked.answers.tolist() == [1, 3]


def test_evaluation_asks_for_tails_then_for_heads():
    asked = both_sides(TRIPLES, relations=2)
    assert asked.sources.tolist() == [1, 3, 2, 0]
    assert asked.relations.tolist() == [0, 1, 2, 3]
    assert asked.answers.tolist() == [2, 0, 1, 3]


def test_the_triples_behind_queries_are_those_they_were_made_of():
    assert tail_queries(TRIPLES).triples(2).tolist() == TRIPLES.tolist()
    assert head_queries(TRIPLES, relations=2).triples(2).tolist() == TRIPLES.tolist()
    asked = Queries(torch.tensor([5, 6]), torch.tensor([1, 3]), torch.tensor([[7, 8], [9, 4]]))
    assert asked.triples(2).tolist() == [[5, 1, 7], [5, 1, 8], [9, 1, 6], [4, 1, 6]]
