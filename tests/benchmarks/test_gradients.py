"""Variance and alignment: the statistics by hand, and that measuring leaves a run as it was."""

import pytest
import torch

from benchmarks.cells import Cell
from benchmarks.gradients import (
    Moments,
    RuleStatistics,
    cosine,
    gradient_of,
    measure,
    measuring_steps,
)
from benchmarks.grids import GRIDS
from benchmarks.trajectory import KEEPS_FEEDBACK, FixedBatch, Trajectory, unchanged
from neuro.data import load_dataset

OVERRIDES = ("model.hidden=[24, 16]", "epochs=1", "batch_size=32", "timesteps=4", "device=cpu")


@pytest.fixture(scope="module")
def run() -> Trajectory:
    grid = GRIDS["digits"]
    config = Cell(grid, grid.variant("ottt"), 0, OVERRIDES).config()
    trajectory = Trajectory(config, ("opzo", "dfa", "dkp", "zo"), load_dataset("digits"))
    for done, loss in trajectory.steps():
        assert loss > 0
        if done == 15:
            break
    return trajectory


def test_moments_are_those_of_torch():
    samples = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    for sample in samples:
        moments.add(sample)
    flat = samples.flatten(1).double()
    total = flat.var(0, unbiased=True).sum()
    assert moments.total_variance == pytest.approx(float(total))
    assert moments.mean_norm_squared == pytest.approx(
        float(flat.mean(0).square().sum() - total / 7)
    )
    assert moments.entries == 15


def test_the_squared_norm_of_the_mean_is_unbiased():
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([0.6, -0.8])
    found = []
    for _ in range(2000):
        moments = Moments()
        for _ in range(3):
            moments.add(truth + 2 * torch.randn(2, generator=generator))
        found.append(moments.mean_norm_squared)
    # |truth|^2 = 1; without the correction the mean would be 1 + 2 * 4 / 3
    assert sum(found) / len(found) == pytest.approx(1.0, abs=0.3)


def test_a_mean_lost_in_noise_has_no_relative_variance():
    statistics = RuleStatistics()
    for value in (1.0, -1.0, 1.0, -1.01):
        gradient = {"w": torch.tensor([value])}
        statistics.add(gradient, gradient, {})
    assert statistics.record()["weights"]["w"]["relative_variance"] is None


def test_cosine_by_hand():
    assert cosine(torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0])) == pytest.approx(24 / 25)
    assert cosine(torch.zeros(2), torch.ones(2)) == 0.0


@pytest.mark.parametrize(
    ("last", "points", "steps"),
    [(1000, 3, [10, 100, 1000]), (5, 4, [5]), (640, 4, [10, 40, 160, 640]), (30, 1, [30])],
)
def test_points_lie_at_even_ratios_and_end_at_the_last_step(last, points, steps):
    assert measuring_steps(last, points) == steps


def test_all_rules_are_measured_at_the_same_weights_and_leave_them(run):
    network = run.session.network
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    states = {
        name: {key: value.clone() for key, value in rule.state_dict().items()}
        for name, rule in run.rules.items()
    }
    found = measure(run, 15, batches=3)
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name])
    for name, rule in run.rules.items():
        for key, value in rule.state_dict().items():
            assert torch.equal(value, states[name][key]), (name, key)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert list(found) == ["ottt", "opzo", "dfa", "dkp", "zo"]
    for rule in found.values():
        assert list(rule["weights"]) == ["linear1", "linear2", "readout"]
        assert set(rule["credit_cosine"]) == {"lif1", "lif2"}


def test_bp_is_its_own_reference_and_has_no_noise(run):
    found = measure(run, 15, batches=3)
    for weight in found["ottt"]["weights"].values():
        assert weight["gradient_cosine"] == pytest.approx(1.0)
        assert weight["noise_variance"] == 0.0
        assert weight["variance"] > 0
    assert found["ottt"]["credit_cosine"] == pytest.approx({"lif1": 1.0, "lif2": 1.0})


def test_zeroth_order_varies_far_more_than_opzo_and_bp(run):
    found = measure(run, 15, batches=6)
    for name in ("linear1", "linear2"):
        variances = {rule: each["weights"][name]["variance"] for rule, each in found.items()}
        assert variances["zo"] > 30 * variances["ottt"]
        assert variances["zo"] > 30 * variances["opzo"]
    assert found["opzo"]["weights"]["linear2"]["noise_variance"] > 0
    assert found["dfa"]["weights"]["linear2"]["noise_variance"] == 0


def test_feedback_learns_beside_the_leader_and_points_its_way(run):
    found = measure(run, 40, batches=3)
    assert found["opzo"]["credit_cosine"]["lif2"] > 0.5
    assert found["dkp"]["credit_cosine"]["lif2"] > 0.1
    assert abs(found["dfa"]["credit_cosine"]["lif2"]) < 0.5


def test_followers_do_not_touch_the_run():
    grid = GRIDS["digits"]
    config = Cell(grid, grid.variant("ottt"), 0, OVERRIDES).config()
    data = load_dataset("digits")
    ends = []
    for followers in ((), ("opzo", "dkp")):
        trajectory = Trajectory(config, followers, data)
        for done, _ in trajectory.steps():
            if done == 4:
                break
        ends.append(trajectory.session.network.state_dict())
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name])


@pytest.mark.parametrize("name", ["ottt", "dfa", "zo", "opzo", "dkp"])
def test_rules_that_need_not_see_every_batch_carry_nothing_over(run, name):
    rule = run.rules[name]
    before = {key: value.clone() for key, value in rule.state_dict().items()}
    batch = FixedBatch(run.session, run.session.partition.train[:32], 8, 8, augment=False)
    with unchanged(rule):
        batch.learn(rule, name)
        optimised = any(parameter.grad is not None for parameter in rule.parameters())
        changed = any(not torch.equal(before[key], v) for key, v in rule.state_dict().items())
    run.session.network.zero_grad()
    assert (optimised or changed) is (name in KEEPS_FEEDBACK)


def test_a_gradient_is_repeatable_and_depends_on_the_draw(run):
    batch = FixedBatch(run.session, run.session.partition.train[:32], 9, 9, augment=False)
    rule = run.rules["opzo"]
    first, same, other = (gradient_of(rule, batch, "opzo", draw) for draw in (1, 1, 2))
    assert torch.equal(first["linear1"], same["linear1"])
    assert not torch.equal(first["linear1"], other["linear1"])


def test_unchanged_restores_feedback_after_an_error(run):
    rule = run.rules["opzo"]
    before = rule.feedback["lif1"].projection.clone()

    def fail_midway() -> None:
        with unchanged(rule):
            rule.feedback["lif1"].projection.add_(1.0)
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail_midway()
    assert torch.equal(rule.feedback["lif1"].projection, before)
