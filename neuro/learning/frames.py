"""Input frames by the block, for what may be computed of several time steps at once."""

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor


def in_blocks(
    inputs: Iterable[Tensor], room: int, ready: Callable[[Tensor], None]
) -> Iterator[Tensor]:
    """Yield the inputs, those that differ as views of a block of up to ``room`` frames.

    A block ``(K, B, ...)`` is handed to ``ready`` before its first frame is yielded, and filled
    anew once its last one is used up: memory does not grow with time. Inputs that are the same
    tensor as the one before, such as a constant image, come as they are.

    Args:
        inputs: frames ``(B, ...)``; as many are read ahead as go into a block.
        room: frames in a block, at most; 1 for no blocks.
        ready: called with each block.
    """
    if room < 2:
        yield from inputs
        return
    block: Tensor | None = None
    source = iter(inputs)
    frame, following = next(source, None), next(source, None)
    while frame is not None:
        if following is None or not _go_together(frame, following):
            yield frame
            frame, following = following, next(source, None)
            continue
        if block is None or block.shape[1:] != frame.shape or block.dtype != frame.dtype:
            block = frame.new_empty(room, *frame.shape)
        block[0] = frame
        count = 1
        while count < room and following is not None and _go_together(frame, following):
            block[count] = following
            frame, following = following, next(source, None)
            count += 1
        ready(block[:count])
        yield from block[:count]
        frame, following = following, next(source, None)


def _go_together(frame: Tensor, following: Tensor) -> bool:
    alike = frame.shape == following.shape and frame.dtype == following.dtype
    return alike and frame is not following
