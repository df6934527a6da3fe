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
def check_signal(x: Tensor, declared: Signal, where: str, *, unit: float = 1.0) -> int:
    """Check that values agree with what they are declared to be; return how many are not 0.

    Binary values are 0 or ``unit``, ternary ones also ``-unit``; graded and real ones are finite.
    Nothing is inferred: a batch of zeros that is declared real stays real.

    Args:
        x: of any shape.
        declared: what ``x`` is said to be.
        where: whose input it is, for the message.
        unit: what a spike arrives as.

    Raises:
        UsageError: values that contradict the declaration.
    """
    active = int(torch.count_nonzero(x))
    if declared in ("binary", "ternary"):
        size = x if declared == "binary" else x.abs()
        if int(torch.count_nonzero(size == unit)) == active:
            return active
        found = x[(x != 0) & (size != unit)].flatten()[0].item()
        allowed = f"0 or {unit:g}" if declared == "binary" else f"0, {unit:g} or {-unit:g}"
        raise UsageError(
            f"{where}: declared {declared}, so values are {allowed}, but one is {found:g}. "
            'Declare it "graded" (events with a number each) or "real".'
        )
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise UsageError(f"{where}: declared {declared}, but not all values are finite.")
    return active
