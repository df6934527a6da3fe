"""How noise follows from a seed: the one definition that every implementation computes.

Neuron ``i`` of ``n`` in sample ``b`` is in quarter ``i // q`` of its sample, ``q = ceil(n / 4)``.
Philox-4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
2011) turns a counter and a key into four words, one for each quarter::

    w0, w1, w2, w3 = philox(counter = (i mod q, b, step, layer), key = (seed low, seed high))

Gaussian: a pair of words makes a pair of independent normal numbers by the method of Box and
Muller, ``(w0, w1)`` for the first two quarters and ``(w2, w3)`` for the last two. With the 23 high
bits ``k`` of the first word, its two low bits as signs, and the second word as a signed number::

    u     = (2k + 1) / 2^24                                in (0, 1)
    delta = second * (pi / 4) / 2^31                       uniform in [-pi/4, pi/4)
    z     = +- sqrt(-ln u) (cos delta - sin delta),  +- sqrt(-ln u) (cos delta + sin delta)

which is ``sqrt(-2 ln u)`` times cosine and sine of an angle uniform in the first quadrant, with
random signs. The largest ``|z|`` is 5.77. Logarithm, cosine and sine are the polynomials below and
every operation is rounded to single precision, so that all implementations agree bit for bit.

Rademacher: ``z = +1`` where the word's highest bit is set, else -1.
"""

from typing import Literal, NamedTuple

Kind = Literal["gaussian", "rademacher"]

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF

LN_2 = 0.6931472
# ln(1.5 + h) for |h| <= 1/2, lowest power first; 2.5e-7 off at most.
LN = (
    0.4054653,
    0.66666615,
    -0.2222454,
    0.09879175,
    -0.04892904,
    0.02596733,
    -0.01741408,
    0.01024383,
)
QUARTER_TURN = 3.6572953e-10  # (pi / 4) / 2^31
SIN = (-1 / 6, 1 / 120, -1 / 5040)
COS = (-1 / 2, 1 / 24, -1 / 720, 1 / 40320)


class NoiseStream(NamedTuple):
    """Where noise comes from: it names one tensor ``z`` without holding it.

    Attributes:
        kind: "gaussian", ``z ~ N(0, I)``, or "rademacher", ``z = +-1`` with equal odds.
        seed: in [0, 2^63).
        layer: tells layers apart, in [0, 2^32).
        step: tells draws apart, in [0, 2^32).
    """

    kind: Kind
    seed: int
    layer: int
    step: int


def quarter(neurons: int) -> int:
    """Return ``q``, the length of a quarter of a sample."""
    return -(-neurons // 4)


def round_keys(seed: int) -> list[tuple[int, int]]:
    """Return the two key words of each of the ten rounds."""
    low, high = seed & WORD, seed >> 32
    return [
        ((low + r * KEY_STEPS[0]) & WORD, (high + r * KEY_STEPS[1]) & WORD) for r in range(ROUNDS)
    ]
