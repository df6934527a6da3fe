"""Where the taps of a convolution meet its input."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """Stride, padding and dilation as (rows, columns), and the number of groups."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def output_size(self, inputs: int, kernel: int, axis: int) -> int:
        """Return how many outputs lie along an axis; below 1 if the kernel is wider than it."""
        reach = self.dilation[axis] * (kernel - 1) + 1
        return (inputs + 2 * self.padding[axis] - reach) // self.stride[axis] + 1
