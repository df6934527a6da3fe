"""Random numbers depend on their position alone."""

import torch

from neuro.training.seeds import generator_for, seed_for


def draw(*key):
    return torch.rand(4, generator=generator_for(*key)).tolist()


def test_the_same_position_gives_the_same_numbers():
    torch.rand(3)
    first = draw(1, "noise", 2, 3)
    torch.rand(3)
    assert draw(1, "noise", 2, 3) == first


def test_seed_purpose_and_counters_all_matter():
    keys = [(1, "noise", 2, 3), (2, "noise", 2, 3), (1, "order", 2, 3), (1, "noise", 3, 2)]
    keys += [(1, "noise", 23), (1, "noise", 2, 3, 0)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_the_derivation_is_fixed():
    # A change here would part resumed runs from those that began before it.
    assert seed_for(0, "noise", 1, 2) == 4526025732511738191
    assert seed_for(7, "weights") == 409572086629675952
