"""What is known of tensors while a module runs: what they carry, and whether they are constants.

Knowledge belongs to a storage, or to a part of one, so views share it. A mark holds its storage
weakly: memory is freed as without it, and no other storage takes the address while the mark is
there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from neuro.energy.signals import Signal

Carried = Signal | Literal["silent"]
"""A signal, or zeros nobody has written to yet, which go with any signal."""


class Extent(NamedTuple):
    """Where in its storage a tensor lies, in elements."""

    first: int
    end: int

    @classmethod
    def of(cls, tensor: Tensor) -> "Extent":
        """Return that of a tensor."""
        first = int(tensor.storage_offset())
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        return cls(first, first + 1 + sum((size - 1) * stride for size, stride in steps))


@dataclass(slots=True)
class Mark:
    """What is known of one storage.

    Attributes:
        carries: as declared or moved from there; "real" where nothing is known.
        constant: made of weights and constants alone, so computed before any sample.
        parameters: names of the weights it was made of.
        product: whoever made it as a product that nothing was added to yet.
        reads: operations that have read it.
        withheld: what a folded normalisation of it would count.
        extent: the part of the storage it is about; None for all.
    """

    carries: Carried = "real"
    constant: bool = False
    parameters: frozenset[str] = field(default=frozenset())
    product: Any = None
    reads: int = 0
    withheld: Any = None
    extent: Extent | None = None


UNMARKED = Mark()
"""Stands for what nothing is known of; never changed."""


@dataclass
class Kept:
    """What rules made of constants, by :meth:`Marks.key`.

    Attributes:
        storages: whose constants it is about, by address; they are alive as long as this.
        made: tensors, by key and what they are.
        nonzero: how many numbers are not 0.
    """

    storages: frozenset[int] = field(default=frozenset())
    made: dict[Any, Tensor] = field(default_factory=dict)
    nonzero: dict[Any, int] = field(default_factory=dict)


class Marks:
    """Marks of storages that live during one count.

    Args:
        lasting: what is known of storages that outlive it.
    """

    def __init__(self, lasting: "Kept | None" = None) -> None:
        self._found: dict[int, tuple[StorageWeakRef, list[Mark]]] = {}
        self._lasting = Kept() if lasting is None else lasting
        self._passing = Kept()

    def kept(self, key: tuple[Any, ...]) -> "Kept":
        """Return where to keep what is made of a constant: for good, or until this count ends."""
        return self._lasting if key[0] in self._lasting.storages else self._passing

    def of(self, tensor: Tensor) -> Mark:
        """Return what is known of a tensor."""
        _, marks = self._found.get(storage_of(tensor), (None, ()))
        for mark in reversed(marks):
            if mark.extent is None:
                return mark
            extent = Extent.of(tensor)
            if mark.extent.first <= extent.first and extent.end <= mark.extent.end:
                return mark
        return UNMARKED

    def put(self, tensor: Tensor, mark: Mark) -> None:
        """Replace what is known of a tensor and all its views; of a part, beside what is there."""
        if tensor.layout is not torch.strided:
            return
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        before = self._found.get(reference.cdata, (reference, []))[1] if mark.extent else []
        others = [each for each in before if each.extent != mark.extent]
        self._found[reference.cdata] = (reference, [*others, mark])

    def key(self, tensor: Tensor) -> tuple[Any, ...] | None:
        """Return what tells a constant from all others of this count, None for what is none."""
        if not self.of(tensor).constant:
            return None
        place = (storage_of(tensor), tensor.storage_offset())
        return (*place, tensor.shape, tensor.stride(), tensor.dtype, tensor._version)


def storage_of(tensor: Tensor) -> int:
    """Return the address of a tensor's storage, 0 where it has none."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else 0


def is_whole(tensor: Tensor) -> bool:
    """Tell whether a tensor takes all of its storage."""
    return tensor.numel() * tensor.element_size() >= tensor.untyped_storage().nbytes()


def together(carried: Iterable[Carried]) -> Carried:
    """Return what a tensor carries that holds numbers of all of these."""
    several = set(carried)
    if len(several) > 1:
        several.discard("silent")
    return several.pop() if len(several) == 1 else "real"
