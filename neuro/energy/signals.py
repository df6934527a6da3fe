"""What travels between layers: declared, then checked, never guessed from values."""

from typing import Literal, get_args

import torch
from torch import Tensor

from neuro.errors import UsageError, nearest

Signal = Literal["binary", "ternary", "graded", "real"]
"""What a connection carries.

- ``binary``: spikes, 0 or one number (their unit), so that a product is a selection.
- ``ternary``: spikes with a sign.
- ``graded``: events with a number each: pooled or summed spikes, messages of a chip.
- ``real``: numbers of which each one is multiplied, zero or not.
"""

SIGNALS: tuple[Signal, ...] = get_args(Signal)


def known_signal(declared: str, where: str) -> Signal:
    """Return a signal by its name.

    Raises:
        UsageError: there is no such signal.
    """
    for signal in SIGNALS:
        if declared == signal:
            return signal
    raise UsageError(
        f'{where}: unknown signal "{declared}"; expected one of {", ".join(SIGNALS)}.'
        f"{nearest(declared, SIGNALS)}"
    )


@torch.no_grad()
def contradictions(x: Tensor, declared: Signal, unit: float = 1.0) -> Tensor:
    """Return how many values contradict what they are declared to be, a number on their device.

    Binary values are 0 or ``unit``, ternary ones also ``-unit``; graded and real ones are finite.
    """
    if declared in ("binary", "ternary"):
        size = x if declared == "binary" else x.abs()
        return torch.count_nonzero(x) - torch.count_nonzero(size == unit)
    if not x.is_floating_point():
        return x.new_zeros((), dtype=torch.int64)
    return x.numel() - torch.count_nonzero(torch.isfinite(x))


def refuse(number: int, declared: Signal, where: str, unit: float = 1.0) -> None:
    """Raise if there are contradictions.

    Raises:
        UsageError: there are.
    """
    if not number:
        return
    allowed = {
        "binary": f"are 0 or {unit:g}",
        "ternary": f"are 0, {unit:g} or {-unit:g}",
    }.get(declared, "are finite")
    advice = (
        ' Declare it "graded" (events with a number each) or "real".'
        if declared in ("binary", "ternary")
        else ""
    )
    raise UsageError(
        f"{where}: declared {declared}, so all values {allowed}, but {number} of them "
        f"{'is' if number == 1 else 'are'} not.{advice}"
    )


def check_signal(x: Tensor, declared: Signal, where: str, *, unit: float = 1.0) -> int:
    """Check that values agree with what they are declared to be; return how many are not 0.

    Nothing is inferred: a batch of zeros that is declared real stays real.

    Args:
        x: of any shape.
        declared: what ``x`` is said to be; see :func:`contradictions`.
        where: whose input it is, for the message.
        unit: what a spike arrives as.

    Raises:
        UsageError: values that contradict the declaration.
    """
    refuse(int(contradictions(x, declared, unit)), declared, where, unit)
    return int(torch.count_nonzero(x))
