"""The same network, data and loop; the learning rule is an argument.

python examples/02_compare_rules.py [EPOCHS]
"""

import sys

import torch
from torch import Tensor

from neuro import RULES, build_model, build_rule, load_dataset
from neuro.models import MLP

TIMESTEPS, BATCH = 6, 64


def accuracy_of(rule_name: str, epochs: int) -> float:
    digits = load_dataset("digits")
    generator = torch.Generator().manual_seed(0)
    network = build_model(MLP(hidden=(128, 128)), digits.input_shape, 10, generator)
    rule = build_rule(network, RULES[rule_name].Options(), generator=generator)
    lr = 3e-4 if rule_name == "zo" else 3e-3
    optimiser = torch.optim.Adam(rule.parameter_groups(lr))

    def images(index: Tensor) -> Tensor:
        return digits.train.inputs[index].float() / digits.scale

    for _ in range(epochs):
        for index in torch.randperm(len(digits.train.targets), generator=generator).split(BATCH):
            x = images(index)
            optimiser.zero_grad()
            # A constant current: the same image at every time step.
            rule.learn(
                iter([x] * TIMESTEPS),
                TIMESTEPS,
                digits.train.targets[index],
                generator=generator,
            )
            optimiser.step()

    test = digits.test.inputs.float() / digits.scale
    logits = network.run([test] * TIMESTEPS).logits
    return float((logits.argmax(1) == digits.test.targets).float().mean())


def main(epochs: int = 10) -> None:
    for name, rule in RULES.items():
        print(f"{name:5} {accuracy_of(name, epochs):7.2%}   {rule.summary}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
