"""How a NIR file is to be read, and the warning where that loses something."""

import warnings
from dataclasses import dataclass

from neuro.errors import UsageError

Shape = tuple[int, ...]


class LossyImportWarning(UserWarning):
    """A model read from a file differs from what the file says, as was asked for."""


@dataclass(frozen=True)
class Reading:
    """How to read nodes.

    Attributes:
        dt: seconds of a time step.
        reset: "hard" or "soft" for every neuron; None for what the metadata say, else hard.
        lossy: round delays and short time constants to what a step can hold, with a warning.
        metadata: go by what the nodes' metadata say of decays, firing, reset and surrogates.
        exponential: time constants are in steps and solved exactly, as the sinabs dialect has them.
    """

    dt: float
    reset: str | None
    lossy: bool
    metadata: bool
    exponential: bool = False

    def lose(self, where: str, problem: str) -> None:
        """Warn of a change, or refuse it.

        Raises:
            UsageError: changes were not asked for.
        """
        if not self.lossy:
            raise UsageError(f"{where}: {problem} Pass lossy=True to take the nearest there is.")
        warnings.warn(f"{where}: {problem}", LossyImportWarning, stacklevel=2)
