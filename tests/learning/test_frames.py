"""Input frames by the block."""

from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.learning.frames import in_blocks


def numbered(count: int) -> list[Tensor]:
    return [torch.full((3, 2), float(number)) for number in range(count)]


@pytest.mark.parametrize("room", [1, 2, 3, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 12])
def test_every_frame_comes_once_and_in_order(room: int, count: int) -> None:
    blocks: list[int] = []
    seen = [
        float(frame[0, 0])
        for frame in in_blocks(numbered(count), room, lambda block: blocks.append(len(block)))
    ]
    assert seen == [float(number) for number in range(count)]
    assert all(2 <= block <= room for block in blocks)
    if room > 1 and count > 1:
        assert count - sum(blocks) <= 1  # one alone may be left


def test_a_block_is_told_of_before_its_frames_and_never_more_than_one_is_held() -> None:
    told: list[Any] = []
    places = set()
    for frame in in_blocks(numbered(12), 3, lambda block: told.append(block.clone())):
        assert torch.equal(frame, told[-1][int(frame[0, 0]) % 3])
        places.add(frame.data_ptr())
    assert len(told) == 4
    assert len(places) == 3


def test_a_constant_image_comes_as_it_is() -> None:
    image = torch.ones(3, 2)

    def never(block: Tensor) -> None:
        raise AssertionError("no block is made of one image")

    assert all(frame is image for frame in in_blocks([image] * 6, 4, never))
    # beside frames that differ
    mixed = [*numbered(3), image, image, *numbered(3)]
    seen = list(map(torch.clone, in_blocks(mixed, 4, lambda block: None)))
    assert all(torch.equal(frame, wanted) for frame, wanted in zip(seen, mixed, strict=True))


def test_frames_of_other_shapes_are_kept_apart() -> None:
    frames = [torch.zeros(3, 2), torch.ones(3, 2), torch.zeros(1, 2), torch.zeros(3, 2).double()]
    seen = [(frame.shape, frame.dtype) for frame in in_blocks(frames, 4, lambda block: None)]
    assert seen == [(frame.shape, frame.dtype) for frame in frames]
