"""Optimisers and learning-rate schedules by name."""

from math import cos, pi
from typing import Any

import torch

from neuro.config import TrainConfig
from neuro.config.train import SGD, Adam
from neuro.errors import ConfigError
from neuro.learning.rule import LearningRule


def build_optimiser(rule: LearningRule, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser over everything the rule trains, network and rule alike.

    Each group keeps its own starting rate in ``group["initial_lr"]``.
    """
    groups: list[dict[str, Any]] = rule.parameter_groups(config.lr)
    for group in groups:
        group["initial_lr"] = group["lr"]
    chosen = config.optimizer
    if isinstance(chosen, SGD):
        return torch.optim.SGD(
            groups,
            lr=config.lr,
            momentum=chosen.momentum,
            nesterov=chosen.nesterov,
            weight_decay=chosen.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if isinstance(chosen, Adam) else torch.optim.AdamW
    return kind(
        groups,
        lr=config.lr,
        betas=(chosen.beta1, chosen.beta2),
        eps=chosen.epsilon,
        weight_decay=chosen.weight_decay,
        fused=True,
    )


def learning_rate_factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return the share of the starting learning rate that holds at a step.

    Cosine: ``(1 + cos(pi * k / K)) / 2`` with k steps (or whole epochs) done of K. Constant: 1.

    Args:
        config: tells the schedule and the number of epochs.
        step: batches done since the start of training, >= 0.
        steps_per_epoch: batches in an epoch.
    """
    if config.schedule.name == "constant":
        return 1.0
    if config.schedule.per == "epoch":
        progress = (step // steps_per_epoch) / config.epochs
    else:
        progress = step / (config.epochs * steps_per_epoch)
    return (1 + cos(pi * progress)) / 2


def set_learning_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Scale each group's starting rate by ``factor``."""
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * factor


def optimiser_tensors(
    optimiser: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Split an optimiser's state: tensors by ``"<parameter index>/<name>"``, and plain values."""
    state = optimiser.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}/{name}"] = value
            else:
                values[f"{index}/{name}"] = value
    return tensors, {"values": values, "groups": state["param_groups"]}


def restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], rest: dict[str, Any]
) -> None:
    """Undo :func:`optimiser_tensors`.

    Raises:
        ConfigError: the state belongs to an optimiser with other parameters.
    """
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *rest["values"].items()]:
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    groups = [dict(group) for group in rest["groups"]]
    for group in groups:
        if "betas" in group:
            group["betas"] = tuple(group["betas"])  # JSON has lists only
    try:
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    except ValueError as error:
        raise ConfigError(f"The optimiser state does not fit this network: {error}.") from None
