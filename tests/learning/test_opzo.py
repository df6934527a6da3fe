"""OPZO: its matrices, their options, and what they tend to."""

from collections.abc import Iterable
from itertools import chain
from math import pi, sqrt

import pytest
import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import Linear, Network, Node, Spiking
from neuro.layers.linear_maps import upsample
from neuro.learning import CreditProbe, LearningRule, build_rule
from neuro.learning.feedback import MomentumFeedback
from neuro.learning.noise import layer_noise
from neuro.learning.opzo import OPZOOptions
from neuro.learning.ottt import OTTTOptions
from neuro.models import MLP, Conv5, build_model
from neuro.neurons import LIF

ALPHA = 0.2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrices(rule: LearningRule) -> dict[str, Tensor]:
    return {name: feedback.matrix.clone() for name, feedback in rule.feedback.items()}


def drive(
    network: Network, options: OPZOOptions, batches: int, *, timesteps: int = 4, seed: int = 3
) -> tuple[LearningRule, list[dict[str, Tensor]]]:
    """Show a rule some random batches at fixed weights; return its matrices after each."""
    generator = seeded(seed)
    rule = build_rule(network, options, generator=generator).double()
    history = []
    for _ in range(batches):
        shape = (timesteps, 8, *network.input_shape)
        inputs = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
        targets = torch.randint(network.classes, (8,), generator=generator)
        rule.learn(iter(inputs), timesteps, targets, generator=generator)
        history.append(matrices(rule))
    return rule, history


def watched(spy, options: OPZOOptions, batches: int, timesteps: int) -> tuple[list, Tensor]:
    """Return the (noise, logits) of each batch and step, seen at the read-out, and the matrix."""
    torch.manual_seed(0)
    network = Network(
        [
            Node("first", Linear(3, 6)),
            Node("lif", Spiking(LIF(threshold=0.5))),
            Node("readout", spy(6, 2)),
        ],
        (3,),
    ).double()
    _, history = drive(network, options, batches, timesteps=timesteps)
    readout = network.nodes["readout"]
    steps = []
    for signal in readout.arrived:
        spikes = (signal > 0.5).double()
        steps.append(((signal - spikes) / options.alpha, signal @ readout.weight.detach().t()))
    grouped = [steps[i : i + timesteps] for i in range(0, len(steps), timesteps)]
    return grouped, history[-1]["lif"]


def follow(steps: Iterable[tuple[Tensor, Tensor]], lam: float, gain: float) -> Tensor:
    """The recursion of the specification, written out."""
    matrix = torch.zeros(6, 2, dtype=torch.float64)
    for z, o in steps:
        matrix = lam * matrix + (1 - lam) * gain * (z.t() @ o) / len(z)
    return matrix


def rademacher(**options) -> OPZOOptions:
    return OPZOOptions(noise="rademacher", alpha=ALPHA, feedback_momentum=0.9, **options)


@pytest.mark.parametrize(("inverse_alpha", "gain"), [("drop", 1.0), ("keep", 1 / ALPHA)])
def test_matrix_follows_the_published_recursion_every_step(
    spy, inverse_alpha: str, gain: float
) -> None:
    """M <- lam M + (1 - lam) mean_b z o^T with the noisy logits of the same step."""
    batches, found = watched(spy, rademacher(inverse_alpha=inverse_alpha), 3, 3)
    torch.testing.assert_close(found, follow(chain(*batches), 0.9, gain))


@pytest.mark.parametrize("timesteps", [4, 5])
def test_an_update_per_pair_takes_half_the_difference_and_an_odd_last_step_stands_alone(
    spy, timesteps: int
) -> None:
    """A4: z (o[t] - o[t+1]) / 2 once a pair."""
    batches, found = watched(spy, rademacher(feedback_update="per_pair"), 3, timesteps)
    steps = []
    for batch in batches:
        for first in range(0, timesteps - 1, 2):
            (z, o), (_, after) = batch[first], batch[first + 1]
            steps.append((z, (o - after) / 2))
        if timesteps % 2:
            steps.append(batch[-1])
    torch.testing.assert_close(found, follow(steps, 0.9, 1.0))


def test_centring_subtracts_the_running_mean_of_earlier_logits(spy) -> None:
    batches, found = watched(spy, rademacher(centre_logits=True), 3, 4)
    mean, steps = torch.zeros(2, dtype=torch.float64), []
    for z, o in chain(*batches):
        steps.append((z, o - mean))
        mean = 0.99 * mean + 0.01 * o.mean(0)
    torch.testing.assert_close(found, follow(steps, 0.9, 1.0))


def test_centring_takes_the_noise_of_a_large_offset_out_of_the_matrix() -> None:
    network = build_model(MLP(hidden=(20,)), (5,), 3, seeded()).double()
    with torch.no_grad():
        network.nodes["readout"].bias.fill_(5.0)

    def noise(centre: bool) -> float:
        options = OPZOOptions(antithetic=False, centre_logits=centre, feedback_momentum=0.9)
        _, history = drive(network, options, 120)
        return torch.stack([entry["lif1"] for entry in history[60:]]).std(0).mean().item()

    assert noise(True) < 0.1 * noise(False)


def test_freezing_keeps_the_matrices_of_that_many_batches() -> None:
    network = build_model(MLP(hidden=(7, 6)), (5,), 3, seeded()).double()
    _, frozen = drive(network, OPZOOptions(freeze_feedback_after=2), 4)
    _, free = drive(network, OPZOOptions(), 4)
    for name in free[0]:
        assert torch.equal(frozen[0][name], free[0][name])
        assert torch.equal(frozen[1][name], free[1][name])
        assert torch.equal(frozen[3][name], free[1][name])
        assert not torch.equal(free[3][name], free[1][name])


@pytest.mark.parametrize(("order", "silent"), [("before", True), ("after", False)])
def test_the_first_error_meets_an_empty_matrix_or_one_just_updated(
    order: str, silent: bool, dense_network, batch
) -> None:
    inputs, targets = batch(dense_network, 2)
    rule = build_rule(dense_network, OPZOOptions(feedback_order=order), generator=seeded())
    rule.double().probe = CreditProbe.empty()
    rule.learn(iter(inputs), 2, targets, generator=seeded())
    first, second = rule.probe.assigned
    for name in dense_network.neuron_nodes:
        assert (not first[name].any()) is silent
        assert second[name].any()


def test_credit_is_the_matrix_times_the_error(dense_network, batch) -> None:
    inputs, targets = batch(dense_network, 1)
    rule = build_rule(dense_network, OPZOOptions(mse_weight=1.0), generator=seeded()).double()
    with torch.no_grad():
        for feedback in rule.feedback.values():
            feedback.matrix.copy_(torch.randn(feedback.matrix.shape, generator=seeded(1)))
    kept = matrices(rule)
    rule.probe = CreditProbe.empty()
    outcome = rule.learn(iter(inputs), 1, targets, generator=seeded())
    wanted = torch.nn.functional.one_hot(targets, 5).double()
    error = 2 * (outcome.logits - wanted) / 5  # squared error of T = 1
    for name, g in rule.probe.assigned[0].items():
        torch.testing.assert_close(g, error @ kept[name].t() / len(targets))


@pytest.mark.parametrize("alpha", [0.2, 0.05])
def test_dropping_one_over_alpha_scales_hidden_gradients_by_alpha_and_not_the_readout(
    alpha: float, conv_network, batch
) -> None:
    """A5, at equal weights and noise, after some batches of history."""
    inputs, targets = batch(conv_network, 4)
    gradients = {}
    for choice in ("keep", "drop"):
        options = OPZOOptions(alpha=alpha, inverse_alpha=choice, feedback_momentum=0.9)
        rule = build_rule(conv_network, options, generator=seeded()).double()
        generator = seeded(1)
        for _ in range(3):
            conv_network.zero_grad()
            rule.learn(iter(inputs), 4, targets, generator=generator)
        gradients[choice] = {n: p.grad.clone() for n, p in conv_network.named_parameters()}
    for name, kept in gradients["keep"].items():
        factor = 1.0 if name.startswith("nodes.readout") else alpha
        assert kept.abs().sum() > 0
        torch.testing.assert_close(gradients["drop"][name], factor * kept, rtol=1e-9, atol=0)


def test_matrices_have_a_row_for_every_neuron_before_pooling() -> None:
    """A6."""
    network = build_model(Conv5(width=1 / 32), (2, 16, 12), 7)
    rule = build_rule(network, OPZOOptions(), generator=seeded())
    shapes = {name: tuple(feedback.matrix.shape) for name, feedback in rule.feedback.items()}
    assert shapes == {
        "lif1": (4 * 16 * 12, 7),
        "lif2": (8 * 8 * 6, 7),
        "lif3": (16 * 4 * 3, 7),
        "lif4": (16 * 2 * 1, 7),
    }
    assert not any(feedback.matrix.any() for feedback in rule.feedback.values())


def test_evaluation_has_no_noise_and_leaves_the_rule_alone(dense_network, batch) -> None:
    """A6."""
    inputs, _ = batch(dense_network, 4)
    rule, _ = drive(dense_network, OPZOOptions(), 2)
    kept = {name: value.clone() for name, value in rule.state_dict().items()}
    random_state = torch.get_rng_state()
    first, second = dense_network.run(inputs), dense_network.run(inputs)
    assert torch.equal(first.logits, second.logits)
    with torch.no_grad():
        logits, _ = dense_network.sequence(torch.stack(inputs))
    torch.testing.assert_close(first.logits, logits.mean(0))
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, value in rule.state_dict().items():
        assert torch.equal(value, kept[name])


def estimate(
    network: Network, options: OPZOOptions, batches: int, size: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Matrices averaged over many batches of one constant sample, T = 1, and standard errors."""
    generator = seeded(5)
    rule = build_rule(network, options, generator=generator).double()
    x = torch.randn(1, *network.input_shape, generator=seeded(8), dtype=torch.float64)
    x = x.expand(size, *network.input_shape)
    targets = torch.zeros(size, dtype=torch.int64)
    seen: dict[str, list[Tensor]] = {name: [] for name in network.neuron_nodes}
    for _ in range(batches):
        # Momentum 0: each matrix is the estimate of its batch alone, so all are independent.
        rule.learn([x], 1, targets, generator=generator)
        for name, matrix in matrices(rule).items():
            seen[name].append(matrix)
    stacked = {name: torch.stack(entries) for name, entries in seen.items()}
    return (
        {name: entries.mean(0) for name, entries in stacked.items()},
        {name: entries.std(0) / sqrt(batches) for name, entries in stacked.items()},
    )


def two_layers() -> tuple[Network, dict[str, Tensor], Tensor]:
    """A network, the currents of both layers at the sample of ``estimate``, its read-out weight."""
    torch.manual_seed(4)
    network = build_model(MLP(hidden=(6, 5), threshold=0.8), (4,), 3).double()
    with torch.no_grad():
        for name in ("linear1", "linear2"):
            network.nodes[name].bias.fill_(0.7)
        network.nodes["readout"].weight.normal_()
    x = torch.randn(1, 4, generator=seeded(8), dtype=torch.float64)
    first, second = network.nodes["linear1"], network.nodes["linear2"]
    with torch.no_grad():
        current1 = first(x)
        current2 = second(2.74 * (current1 >= 0.8).double())
    currents = {"linear1": current1[0], "linear2": current2[0]}
    return network, currents, network.nodes["readout"].weight.detach()


def keeping(**options) -> OPZOOptions:
    return OPZOOptions(
        feedback_momentum=0.0,
        inverse_alpha="keep",
        centre_logits=True,
        antithetic=False,
        **options,
    )


def assert_within_errors(found: Tensor, expected: Tensor, error: Tensor) -> None:
    """Within 4.5 standard errors everywhere, where the signal itself stands far above them."""
    assert ((found - expected).abs() < 4.5 * error + 1e-12).all(), (found - expected) / error
    assert expected.abs().max() > 20 * error.mean()


@pytest.mark.parametrize("noise", ["gaussian", "rademacher", "sphere"])
def test_matrix_of_the_last_layer_tends_to_the_transposed_readout(noise: str) -> None:
    """A1 and A8: logits are linear in the last layer's noise, so E[M] = scale W^T exactly."""
    network, _, readout = two_layers()
    found, error = estimate(network, keeping(noise=noise), 60, 512)
    assert_within_errors(found["lif2"], 2.74 * readout.t(), error["lif2"])


def test_matrix_of_a_deeper_layer_tends_to_the_jacobian_of_the_smoothed_network() -> None:
    """A1: through a layer of spikes, by Gaussian integration of its threshold.

    Layer 2 fires when u2 >= threshold; the noise of layer 1 makes u2 normal with the deviation
    alpha c |W2_k|, so d E[s2] / d s1 = c W2_k N(u2 - threshold; 0, deviation).
    """
    alpha, scale = 0.5, 2.74
    network, currents, readout = two_layers()
    weight = network.nodes["linear2"].effective_weight().detach()
    deviation = alpha * scale * weight.norm(dim=1)
    distance = currents["linear2"] - 0.8
    density = torch.exp(-0.5 * (distance / deviation) ** 2) / (deviation * sqrt(2 * pi))
    jacobian = (readout * scale * density) @ (scale * weight)
    found, error = estimate(network, keeping(alpha=alpha), 100, 1024)
    assert_within_errors(found["lif1"], jacobian.t(), error["lif1"])


def test_noise_on_the_membrane_gives_the_jacobian_to_the_potential() -> None:
    """A8: do/du = do/ds times the smoothed threshold's slope, not do/ds itself."""
    alpha, scale = 0.5, 2.74
    network, currents, readout = two_layers()
    found, error = estimate(network, keeping(alpha=alpha, noise_at="pre"), 100, 1024)
    # Layer 1's own noise moves the current of layer 2, so the mean slope there is estimated from
    # the exact distribution of layer 1's spikes: 2^6 patterns.
    fires = 0.5 * (1 + torch.erf((currents["linear1"] - 0.8) / (alpha * sqrt(2))))
    patterns = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6).double()
    odds = torch.where(patterns > 0, fires, 1 - fires).prod(1)
    layer = network.nodes["linear2"]
    u2 = layer(scale * patterns).detach()
    slope = torch.exp(-0.5 * ((u2 - 0.8) / alpha) ** 2) / (alpha * sqrt(2 * pi))
    to_potential = scale * readout.t() * (odds @ slope)[:, None]
    assert_within_errors(found["lif2"], to_potential, error["lif2"])
    to_spikes = scale * readout.t()
    assert ((found["lif2"] - to_spikes).abs() > 20 * error["lif2"]).any()


def test_intermediate_learning_gives_layers_below_the_middle_matrices_of_their_own() -> None:
    network = build_model(MLP(hidden=(9, 8, 7, 6)), (5,), 3, seeded()).double()
    rule, _ = drive(network, OPZOOptions(intermediate_learning=True), 2)
    assert rule.intermediate.middle == "lif3"
    own = {name: tuple(m.matrix.shape) for name, m in rule.intermediate.feedback.items()}
    assert own == {"lif1": (9, 3), "lif2": (8, 3)}
    assert all(m.matrix.any() for m in rule.intermediate.feedback.values())
    assert sum(p.numel() for p in rule.parameters()) == 7 * 3 + 3


def test_intermediate_credit_adds_to_that_of_the_output(batch) -> None:
    network = build_model(MLP(hidden=(9, 8, 7, 6)), (5,), 3, seeded()).double()
    inputs, targets = batch(network, 4)

    def run(intermediate: bool):
        options = OPZOOptions(intermediate_learning=intermediate, feedback_momentum=0.5)
        rule = build_rule(network, options, generator=seeded(2)).double()
        if intermediate:
            with torch.no_grad():
                rule.intermediate.readout.weight.normal_(generator=seeded(6))
        rule.probe = CreditProbe.empty()
        rule.learn(iter(inputs), 4, targets, generator=seeded(1))
        return rule, rule.probe.assigned[-1]

    _, plain = run(False)
    rule, both = run(True)
    torch.testing.assert_close(both["lif4"], plain["lif4"])
    for name in ("lif1", "lif2", "lif3"):
        assert (both[name] - plain[name]).abs().sum() > 0
    # The middle layer's extra credit is W^T e of the classifier, so it lies in its row space.
    extra = both["lif3"] - plain["lif3"]
    weight = rule.intermediate.readout.weight.detach()
    inside = torch.linalg.lstsq(weight.t(), extra.t()).solution
    torch.testing.assert_close(weight.t() @ inside, extra.t())
    for parameter in rule.parameters():
        assert parameter.grad.abs().sum() > 0


def test_intermediate_matrix_tends_to_the_jacobian_to_the_middle_logits() -> None:
    """The same noise of layer 1 estimates d(middle logits)/ds1 by the recursion of the output."""
    network, currents, _ = two_layers()
    alpha, scale = 0.5, 2.74
    options = keeping(alpha=alpha, intermediate_learning=True)
    generator = seeded(5)
    rule = build_rule(network, options, generator=generator).double()
    readout = rule.intermediate.readout
    with torch.no_grad():
        readout.weight.normal_(generator=seeded(6))
    x = torch.randn(1, 4, generator=seeded(8), dtype=torch.float64).expand(1024, 4)
    seen = []
    for _ in range(100):
        rule.learn([x], 1, torch.zeros(1024, dtype=torch.int64), generator=generator)
        seen.append(rule.intermediate.feedback["lif1"].matrix.clone())
    entries = torch.stack(seen)
    weight = network.nodes["linear2"].effective_weight().detach()
    deviation = alpha * scale * weight.norm(dim=1)
    distance = currents["linear2"] - 0.8
    density = torch.exp(-0.5 * (distance / deviation) ** 2) / (deviation * sqrt(2 * pi))
    jacobian = (readout.weight.detach() * scale * density) @ (scale * weight)
    assert_within_errors(entries.mean(0), jacobian.t(), entries.std(0) / sqrt(100))


def test_a_batch_given_twice_leaves_the_update_unchanged(conv_network, batch, learn) -> None:
    """A13: noise of next to no strength, so that copies see the same network; M held fixed."""
    inputs, targets = batch(conv_network, 4)
    options = OPZOOptions(alpha=1e-12, freeze_feedback_after=0)
    rule = build_rule(conv_network, options, generator=seeded()).double()
    with torch.no_grad():
        for feedback in rule.feedback.values():
            feedback.projection.normal_(generator=seeded(1))
    once = learn(rule, None, inputs, targets).gradients
    twice = learn(
        rule, None, [torch.cat([x, x]) for x in inputs], torch.cat([targets, targets])
    ).gradients
    for name, gradient in once.items():
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(twice[name], gradient, rtol=1e-6, atol=1e-12)


def test_state_is_restored_whole(dense_network, batch) -> None:
    """The matrices, the updates counted and the running mean all travel in ``state_dict``."""
    options = OPZOOptions(
        bias_correction=True,
        feedback_ramp=5,
        centre_logits=True,
        freeze_feedback_after=4,
        intermediate_learning=True,
        local_learning=True,
    )
    inputs, targets = batch(dense_network, 3)
    first, _ = drive(dense_network, options, 3)
    second = build_rule(dense_network, options, generator=seeded(77)).double()
    second.load_state_dict(first.state_dict())
    for rule in (first, second):
        generator = seeded(4)
        for _ in range(2):
            rule.learn(iter(inputs), 3, targets, generator=generator)
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_generator_decides_all_noise(dense_network, batch, learn) -> None:
    inputs, targets = batch(dense_network, 4)
    before = torch.get_rng_state()
    first, again, other = (
        learn(dense_network, OPZOOptions(), inputs, targets, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    for name in first.gradients:
        assert torch.equal(again.gradients[name], first.gradients[name])
    assert not torch.equal(other.outcome.logits, first.outcome.logits)


def test_readout_uses_the_first_order_error(dense_network, batch, learn) -> None:
    inputs, targets = batch(dense_network, 4)
    ours = learn(dense_network, OPZOOptions(alpha=1e-12), inputs, targets).gradients
    exact = learn(dense_network, OTTTOptions(), inputs, targets).gradients
    for name in ("nodes.readout.weight", "nodes.readout.bias"):
        torch.testing.assert_close(ours[name], exact[name])


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "momentum of one": ({"feedback_momentum": 1.0}, r"feedback_momentum must lie in \[0, 1\)"),
    "negative momentum": ({"feedback_momentum": -0.1}, "feedback_momentum must lie"),
    "negative ramp": ({"feedback_ramp": -3}, "feedback_ramp must be >= 0, got -3"),
    "negative freeze": ({"freeze_feedback_after": -1}, "freeze_feedback_after must be >= 0"),
    "pairs without pairs": (
        {"feedback_update": "per_pair", "antithetic": False},
        'per_pair" needs rule.antithetic=true',
    ),
    "intermediate of one layer": (
        {"intermediate_learning": True},
        "at least two spiking layers, this network has 1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_refused(case: str) -> None:
    options, message = WRONG[case]
    network = build_model(MLP(hidden=(4,)), (3,), 2)
    with pytest.raises(UsageError, match=message):
        build_rule(network, OPZOOptions(**options), generator=seeded())


@pytest.mark.parametrize(
    ("field", "wrong", "meant"),
    [
        ("inverse_alpha", "dropped", "drop"),
        ("feedback_update", "per-pair", "per_pair"),
        ("feedback_order", "befor", "before"),
    ],
)
def test_a_misspelt_choice_says_which_is_nearest(field: str, wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"{field}.*'{wrong}'.*Did you mean \"{meant}\""):
        OPZOOptions(**{field: wrong})


@pytest.mark.parametrize(("inverse_alpha", "gain"), [("drop", 1.0), ("keep", 1 / ALPHA)])
def test_the_delta_rule_regresses_the_logits_on_the_noise(
    spy, inverse_alpha: str, gain: float
) -> None:
    """M <- M + step gain mean_b z (o - alpha z^T J^T)^T, with alpha J^T = M / gain."""
    options = rademacher(inverse_alpha=inverse_alpha, feedback_rule="delta")
    batches, found = watched(spy, options, 3, 4)
    matrix = torch.zeros(6, 2, dtype=torch.float64)
    step = min(0.1, 8 / (8 + 6))
    for z, o in chain(*batches):
        matrix = matrix + step * gain * z.t() @ (o - z @ matrix / gain) / len(z)
    torch.testing.assert_close(found, matrix)


def test_the_delta_rule_stays_bounded_where_layers_are_wide_and_batches_small() -> None:
    """400 neurons, 8 samples, 1 - lam = 0.5: unbounded, errors grow manyfold at each step."""
    network = build_model(MLP(hidden=(400,)), (5,), 3, seeded()).double()
    options = OPZOOptions(feedback_rule="delta", feedback_momentum=0.5)
    _, history = drive(network, options, 100)
    assert history[-1]["lif1"].abs().max() < 10 * history[5]["lif1"].abs().max()


@pytest.mark.parametrize("block", [1, 2])
def test_the_delta_rule_finds_the_same_jacobian_with_less_noise(block: int) -> None:
    """A linear map of the noise of two layers: the wide-swinging one drowns the other's average."""
    generator = seeded(5)
    shapes = {"loud": (6, 4, 4), "quiet": (3, 4, 4)}
    options = {"momentum": 0.99, "bias_correction": True}
    averaged = {n: MomentumFeedback(s, 2, block, **options).double() for n, s in shapes.items()}
    regressed = {n: MomentumFeedback(s, 2, block, **options).double() for n, s in shapes.items()}
    # Constant over each block, so that shared rows can hold the truth.
    truth = {}
    for name, shape in shapes.items():
        side = 4 // block
        coarse = torch.randn(2, shape[0], side, side, generator=generator, dtype=torch.float64)
        truth[name] = upsample(coarse, block) * (5.0 if name == "loud" else 0.1)
    like = torch.zeros(32, dtype=torch.float64)
    for step in range(600):
        z = {
            n: layer_noise("gaussian", 0, layer, step, like, s)
            for layer, (n, s) in enumerate(shapes.items())
        }
        o = sum(torch.einsum("bchw,mchw->bm", z[n].values(like), truth[n]) for n in shapes)
        left = o - sum(regressed[n].predict(z[n]) for n in shapes)
        rows = sum(f.projection.shape[1] for f in regressed.values())
        for name in shapes:
            averaged[name].absorb(z[name], o, 1.0)
            regressed[name].correct(z[name], left, 1.0, 32 / (32 + rows))

    def error(feedback: MomentumFeedback) -> float:
        found = feedback.project(torch.eye(2, dtype=torch.float64))
        return ((found - truth["quiet"]).norm() / truth["quiet"].norm()).item()

    assert error(regressed["quiet"]) < 0.1
    assert error(averaged["quiet"]) > 1.0
