"""Train a spiking network with OPZO on the embedded digits and read what came out.

python examples/01_train_opzo.py [EPOCHS]
"""

import sys
from pathlib import Path
from tempfile import mkdtemp

from neuro import TrainConfig, train
from neuro.learning import RULES
from neuro.models import MLP


def main(epochs: int = 15) -> None:
    config = TrainConfig(
        rule=RULES["opzo"].Options(),
        dataset="digits",
        model=MLP(hidden=(256, 256)),
        timesteps=6,
        epochs=epochs,
        batch_size=64,
        lr=3e-3,
    )
    folder = Path(mkdtemp()) / "run"
    summary = train(config, run_dir=folder)

    print(f"test accuracy after the last epoch: {summary.metrics['test_accuracy']:.2%}")
    for layer, rate in summary.firing_rates.items():
        print(f"{layer}: {rate:.3f} spikes per neuron and time step")
    print(f"checkpoints, metrics and plots: {folder}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
