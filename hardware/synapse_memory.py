"""Bits that synapses take of a core's memory.

The ``k`` synapses of an input axon are a list, stored in blocks of up to 64::

    bits(k) = sum over blocks of ceil((k' e + 4 + 6) / 64) * 64,   k' of the block's synapses
    e       = weight bits + delay bits + index bits

Source: the formula is that of nengo-loihi 1.1.0, ``Synapse.bits``; no synapse is tagged here.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuro.hardware.integer_graph import Connection

Indices: TypeAlias = NDArray[np.int64]
SignMode: TypeAlias = Literal["excitatory", "inhibitory", "mixed"]

LIST_BLOCK = 64
"""Synapses of a list that share a header."""
HEADER_BITS = 4 + 6
WORD_BITS = 64
WEIGHT_BITS = (1, 2, 3, 4, 5, 6, 8)
LEAST_INDEX_BITS = 6
MANTISSA_BITS = 8


@dataclass(frozen=True)
class SynapseFormat:
    """How the synapses of a list are stored; a core knows few formats.

    Args:
        weight_bits: of a weight's mantissa.
        delay_bits: 0 where no synapse is delayed.
        index_bits: 0 where they reach consecutive neurons.
        sign_mode: whether weights are of one sign.
        weight_exponent: by which what arrives is shifted.
    """

    weight_bits: int
    delay_bits: int
    index_bits: int
    sign_mode: SignMode
    weight_exponent: int

    @property
    def synapse_bits(self) -> int:
        """Bits of one synapse."""
        return self.weight_bits + self.delay_bits + self.index_bits


def list_bits(synapses: Indices, synapse_bits: int) -> Indices:
    """Return the bits of lists of so many synapses, each of ``synapse_bits``."""
    whole, rest = np.divmod(synapses, LIST_BLOCK)
    bits = whole * _block_bits(np.int64(LIST_BLOCK), synapse_bits)
    bits += np.where(rest > 0, _block_bits(rest, synapse_bits), 0)
    return np.asarray(bits, np.int64)


def _block_bits(synapses: Indices | np.int64, synapse_bits: int) -> Indices:
    words = -(-(synapses * synapse_bits + HEADER_BITS) // WORD_BITS)
    return np.asarray(words * WORD_BITS, np.int64)


def synapse_format(connection: Connection) -> SynapseFormat:
    """Return the narrowest format, without index, that holds a connection's synapses.

    A weight is a mantissa of b bits, its sign included, times a power of two; so of the 8 bits
    those may be left out that are 0 in every weight (of both signs: one more, as those are stored
    halved).
    """
    weight = connection.synapses.weight
    mixed = bool(weight.size) and int(weight.min()) < 0 < int(weight.max())
    inhibitory = bool(weight.size) and not mixed and int(weight.min()) < 0
    any_bit = int(np.bitwise_or.reduce(np.abs(weight), axis=None)) if weight.size else 0
    zeros = (any_bit & -any_bit).bit_length() - 1 if any_bit else MANTISSA_BITS
    needed = max(1, MANTISSA_BITS + mixed - zeros)
    delay = connection.delay
    return SynapseFormat(
        weight_bits=next((bits for bits in WEIGHT_BITS if bits >= needed), needed),
        delay_bits=int(delay.max()).bit_length() if delay.size else 0,
        index_bits=0,
        sign_mode="mixed" if mixed else "inhibitory" if inhibitory else "excitatory",
        weight_exponent=connection.weight_exponent,
    )


def index_bits(neurons: int) -> int:
    """Return the bits of an index that tells so many neurons of a core apart."""
    return max(LEAST_INDEX_BITS, (neurons - 1).bit_length())
