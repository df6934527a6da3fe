"""Numbers that count what is done with them."""

from collections import Counter
from typing import Any, ClassVar

from neuro.energy.counts import Counts


class Number:
    """A number that counts what is done with it."""

    done: ClassVar[Counter[str]] = Counter()

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def _of(self, other: Any, kind: str, value: float) -> "Number":
        Number.done[kind] += 1
        return Number(value)

    def __add__(self, other: Any) -> "Number":
        return self._of(other, "additions", self.value + float(other))

    def __sub__(self, other: Any) -> "Number":
        return self._of(other, "additions", self.value - float(other))

    def __mul__(self, other: Any) -> "Number":
        return self._of(other, "multiplications", self.value * float(other))

    def __float__(self) -> float:
        return self.value

    def __lt__(self, other: Any) -> bool:
        Number.done["comparisons"] += 1
        return self.value < float(other)

    def apply(self, function: Any) -> "Number":
        return self._of(None, "functions", function(self.value))


def counted(work: Any) -> Counter[str]:
    Number.done = Counter()
    work()
    return Number.done


def same(columns: Any, done: Counter[str]) -> None:
    found = Counts(**columns)
    assert found.all_additions == done["additions"]
    assert found.all_multiplications == done["multiplications"]
    assert found.functions == done["functions"]
    assert found.comparisons == done["comparisons"]
