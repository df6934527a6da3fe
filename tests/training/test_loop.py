"""The batch loop against the same steps by hand, and what it does when things go bad."""

import re

import pytest
import torch

from neuro.data import load_dataset
from neuro.errors import DivergedError
from neuro.learning import build_rule
from neuro.models import build_model
from neuro.training import RunDirectory, train
from neuro.training.batches import epoch_order, partition
from neuro.training.checkpoint import checkpoint_names, load_checkpoint
from neuro.training.metrics import read_metrics
from neuro.training.optimisers import learning_rate_factor
from neuro.training.seeds import generator_for


def weights(run):
    tensors = load_checkpoint(run / "checkpoints", "last").tensors
    return {name: value for name, value in tensors.items() if name.startswith("network/")}


def by_hand(config):
    """Two epochs of Adam, nothing but torch, the rule and the documented generators."""
    data = load_dataset("digits")
    network = build_model(
        config.model, data.input_shape, data.classes, generator_for(config.seed, "weights")
    )
    rule = build_rule(network, config.rule, generator=generator_for(config.seed, "rule"))
    optimiser = torch.optim.Adam(rule.parameter_groups(config.lr))
    train_indices = partition(len(data.train), config.validation_fraction, config.seed).train
    step = 0
    for epoch in range(1, config.epochs + 1):
        order = epoch_order(train_indices, config.seed, epoch)
        batches = order.split(config.batch_size)
        for number, indices in enumerate(batches):
            x = data.train.inputs[indices].float() / data.scale
            if data.mean is not None:
                x = (x - torch.tensor(data.mean).view(-1, 1, 1)) / torch.tensor(data.std).view(
                    -1, 1, 1
                )
            for group in optimiser.param_groups:
                group["lr"] = config.lr * learning_rate_factor(config, step, len(batches))
            optimiser.zero_grad()
            rule.learn(
                [x] * config.timesteps,
                config.timesteps,
                data.train.targets[indices],
                generator=generator_for(config.seed, "noise", epoch, number),
            )
            optimiser.step()
            step += 1
    return network.state_dict()


def test_the_loop_is_the_documented_steps(tmp_path, tiny):
    config = tiny("opzo", lr=0.01)
    train(config, run_dir=tmp_path / "run")
    for name, value in by_hand(config).items():
        torch.testing.assert_close(weights(tmp_path / "run")[f"network/{name}"], value)


@pytest.mark.parametrize(("update", "steps_per_batch"), [("accumulate", 1), ("online", 3)])
def test_an_online_rule_steps_after_every_time_step(tmp_path, tiny, update, steps_per_batch):
    config = tiny("ottt", epochs=1, rule={"update": update})
    train(config, run_dir=tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoints", "last")
    assert int(checkpoint.tensors["optimiser/0/step"]) == steps_per_batch * checkpoint.step


def test_clipping_bounds_the_step(tmp_path, tiny):
    settings = {
        "epochs": 1,
        "batch_size": 2000,
        "lr": 1.0,
        "optimizer": {"name": "sgd", "momentum": 0.0},
        "log_every_steps": 1,
    }
    lengths = []
    for name, clip in (("free", None), ("clipped", 0.01)):
        config = tiny("ottt", gradient_clip=clip, **settings)
        train(config, run_dir=tmp_path / name)
        start = build_model(config.model, (1, 8, 8), 10, generator_for(0, "weights")).state_dict()
        after = weights(tmp_path / name)
        moved = [after[f"network/{key}"] - value for key, value in start.items()]
        lengths.append(float(torch.cat([part.flatten() for part in moved]).norm()))
        (record,) = read_metrics(tmp_path / name / "metrics.jsonl", "step")
        assert record["gradient_norm"] == pytest.approx(lengths[0], rel=1e-3)
    assert lengths[0] > 0.1
    assert lengths[1] == pytest.approx(0.01, rel=1e-2)


def test_divergence_names_step_and_layer_and_keeps_the_last_good_checkpoint(tmp_path, tiny):
    config = tiny(
        "ottt",
        lr=1e15,  # weights of 1e15 at first, gradients of 1e15 times that next
        model={"norm": "none"},
        optimizer={"name": "sgd", "momentum": 0.9},
        checkpoint_every_steps=1,
    )
    with pytest.raises(DivergedError) as caught:
        train(config, run_dir=tmp_path / "run")
    message = str(caught.value)
    assert "diverged in epoch 1, batch" in message
    assert re.search(r"(linear1|readout)\.(weight|bias) (holds|reaches)", message)
    assert "last good checkpoint" in message
    run = RunDirectory.open(tmp_path / "run")
    assert run.state() == "diverged"
    last = load_checkpoint(run.checkpoints, "last")
    assert f"(step {last.step})" in message
    assert all(t.isfinite().all() for t in last.tensors.values() if t.is_floating_point())


def test_metrics_have_a_line_an_epoch_and_one_every_so_many_steps(finished_run):
    path, _ = finished_run
    epochs = read_metrics(path / "metrics.jsonl", "epoch")
    steps = read_metrics(path / "metrics.jsonl", "step")
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    assert [record["step"] for record in epochs] == [11, 22, 33]
    assert [record["step"] for record in steps] == [4, 8, 12, 16, 20, 24, 28, 32]
    keys = {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy"}
    keys |= {"firing_rate", "firing_rates", "lr", "samples_per_second", "seconds"}
    assert keys <= epochs[0].keys()
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert epochs[-1]["lr"] == 0
    assert set(epochs[0]["firing_rates"]) == {"lif1"}


def test_epochs_are_kept_when_asked_for(tmp_path, tiny):
    train(tiny(epochs=4, keep_every_epochs=2), run_dir=tmp_path / "run")
    names = checkpoint_names(tmp_path / "run" / "checkpoints")
    assert names == ["best", "epoch-0002", "epoch-0004", "last"]
    kept = load_checkpoint(tmp_path / "run" / "checkpoints", "epoch-0002")
    assert kept.state["position"] == {"epoch": 3, "batch": 0, "step": 22}
