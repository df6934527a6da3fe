"""Make ``lava.npz``: what Lava's fixed_pt process models do with the graphs of eight seeds.

After ``make lava``, at the root of a checkout::

    PYTHONPATH=. .venv/bin/python tests/hardware/golden/make_lava.py

The file holds spikes, u and v of every population and step, ``[T, 1, *shape]``.
"""

from pathlib import Path

import numpy as np

from neuro.hardware.lava.run import SIGNALS, run
from tests.hardware.lava.random_graphs import draw

SEEDS = range(8)


def main() -> None:
    found = {}
    for seed in SEEDS:
        graph, inputs = draw(seed)
        recording = run(graph, inputs)
        for signal in SIGNALS:
            for name, values in getattr(recording, signal).items():
                found[f"{seed}.{signal}.{name}"] = values
    np.savez_compressed(Path(__file__).with_name("lava.npz"), **found)


if __name__ == "__main__":
    main()
