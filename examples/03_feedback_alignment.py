"""Watch OPZO's feedback matrices find the direction of the true error.

Prints, batch by batch, the cosine between the error each hidden layer was given and the error
that backpropagation would give it at the same weights, activity and noise.

    python examples/03_feedback_alignment.py [BATCHES]
"""

import sys

import torch

from neuro import build_model, build_rule, load_dataset
from neuro.learning import CreditProbe, OnlineRule
from neuro.learning.opzo import OPZOOptions
from neuro.models import MLP

TIMESTEPS, BATCH = 6, 64


def main(batches: int = 201) -> None:
    digits = load_dataset("digits")
    generator = torch.Generator().manual_seed(0)
    network = build_model(MLP(hidden=(128, 128)), digits.input_shape, 10, generator)
    rule = build_rule(network, OPZOOptions(), generator=generator)
    assert isinstance(rule, OnlineRule)
    optimiser = torch.optim.Adam(rule.parameter_groups(3e-3))

    for batch in range(batches):
        index = torch.randint(len(digits.train.targets), (BATCH,), generator=generator)
        x = digits.train.inputs[index].float() / digits.scale
        rule.probe = CreditProbe.empty() if batch % 40 == 0 else None
        optimiser.zero_grad()
        outcome = rule.learn(
            iter([x] * TIMESTEPS), TIMESTEPS, digits.train.targets[index], generator=generator
        )
        optimiser.step()
        if rule.probe is not None:
            cosines = ", ".join(f"{k} {v:.2f}" for k, v in sorted(rule.probe.cosines().items()))
            print(f"batch {batch:4d}   loss {float(outcome.loss):.3f}   cosine {cosines}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
