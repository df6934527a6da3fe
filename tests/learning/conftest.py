"""What the tests of learning rules share: digits, small networks, gradients, a training loop."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuro.data import load_dataset
from neuro.layers import Add, Linear, LinearMap, Network, Spiking, Synapse
from neuro.learning import CreditProbe, LearningRule, OnlineRule, Outcome, build_rule
from neuro.models import MLP, Conv5, Conv9, ModelOptions, ResNet18, build_model

Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Images:
    """Training and test images as floats, with their classes."""

    train: Tensor
    train_targets: Tensor
    test: Tensor
    test_targets: Tensor


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from a second thread and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> Images:
    dataset = load_dataset("digits")
    return Images(
        dataset.train.inputs / dataset.scale,
        dataset.train.targets,
        dataset.test.inputs / dataset.scale,
        dataset.test.targets,
    )


class Learnt(NamedTuple):
    """A rule after one batch, what it said, and ``p.grad`` of network and rule by name."""

    rule: LearningRule
    outcome: Outcome
    gradients: Gradients
    own_gradients: Gradients


def gradients_of(module: torch.nn.Module) -> Gradients:
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


class Learn(Protocol):
    def __call__(
        self,
        rule: LearningRule | Network,
        options: Any,
        inputs: Iterable[Tensor],
        targets: Tensor,
        *,
        timesteps: int | None = None,
        seed: int = 0,
    ) -> Learnt: ...


@pytest.fixture
def learn() -> Learn:
    """Give a batch to a rule (built from options for a network) and collect its gradients."""

    def run(
        rule: LearningRule | Network,
        options: Any,
        inputs: Iterable[Tensor],
        targets: Tensor,
        *,
        timesteps: int | None = None,
        seed: int = 0,
    ) -> Learnt:
        inputs = list(inputs)
        generator = torch.Generator().manual_seed(seed)
        if isinstance(rule, Network):
            dtype = next(rule.parameters()).dtype
            rule = build_rule(rule, options, generator=generator).to(dtype)
        rule.network.zero_grad()
        rule.zero_grad()
        steps = len(inputs) if timesteps is None else timesteps
        outcome = rule.learn(iter(inputs), steps, targets, generator=generator)
        return Learnt(rule, outcome, gradients_of(rule.network), gradients_of(rule))

    return run


ARCHITECTURES: dict[str, tuple[ModelOptions, tuple[int, ...]]] = {
    "mlp": (MLP(hidden=(13, 11)), (9,)),
    "mlp, plain": (MLP(hidden=(13, 11), norm="none"), (9,)),
    "mlp, hard reset, exclusive": (
        MLP(hidden=(13, 11), reset="hard", inclusive=False, surrogate="triangle", tau=4.0),
        (9,),
    ),
    "conv5": (Conv5(width=1 / 32), (2, 9, 8)),
    "conv5, plain": (Conv5(width=1 / 32, norm="none", threshold=0.5), (2, 8, 8)),
    "conv9": (Conv9(width=1 / 32), (2, 8, 8)),
    "resnet18": (ResNet18(width=1 / 32), (2, 8, 8)),
    "resnet18, plain": (ResNet18(width=1 / 32, norm="none"), (2, 8, 8)),
}


def build_architecture(name: str, classes: int = 5) -> Network:
    """A small network in float64 with no parameter at a special value (biases, gains)."""
    options, shape = ARCHITECTURES[name]
    generator = torch.Generator().manual_seed(11)
    network = build_model(options, shape, classes, generator).double()
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter_name.endswith("bias"):
                parameter.add_(0.5 + 0.3 * draw)  # lifts the deep layers to their thresholds
            elif parameter_name.endswith("gain"):
                parameter.add_(0.3 * draw)
            else:
                parameter.add_(0.2 * draw)
    return network


@pytest.fixture(params=list(ARCHITECTURES))
def any_network(request: pytest.FixtureRequest) -> Network:
    return build_architecture(request.param)


@pytest.fixture
def dense_network() -> Network:
    return build_architecture("mlp")


@pytest.fixture
def conv_network() -> Network:
    return build_architecture("conv5")


@pytest.fixture
def batch() -> Callable[..., tuple[list[Tensor], Tensor]]:
    """Draw T inputs ``(B, *input_shape)`` and targets for a network, in its dtype."""

    def draw(network: Network, timesteps: int, size: int = 4, *, constant: bool = False) -> Any:
        generator = torch.Generator().manual_seed(23)
        dtype = next(network.parameters()).dtype
        shape = (timesteps, size, *network.input_shape)
        inputs = list(2 * torch.randn(shape, generator=generator, dtype=dtype))
        targets = torch.randint(network.classes, (size,), generator=generator)
        return ([inputs[0]] * timesteps if constant else inputs), targets

    return draw


@pytest.fixture
def autograd_ottt() -> Callable[..., Gradients]:
    """OTTT by autograd, written apart from the package's own: the reference of its updates.

    At each step a graph of that step alone is built: the potential carried over is a constant,
    and a synapse sends the current of its spikes while its gradient sees the trace, whose latest
    spike carries the error down. Each step's loss is differentiated at once.
    """

    def run(
        network: Network, inputs: list[Tensor], targets: Tensor, mse_weight: float
    ) -> Gradients:
        network.zero_grad()
        rest: dict[str, Tensor] = {}
        traces: dict[str, Tensor] = {}
        for x in inputs:
            acts, sees = {"input": x}, {"input": x}  # what is sent; what the gradient sees
            for name, module in network.nodes.items():
                sources = network.sources[name]
                first = acts[sources[0]]
                if isinstance(module, Spiking):
                    neuron = module.neuron
                    u = first + neuron.decay * rest.get(name, torch.zeros_like(first))
                    s = neuron.surrogate.spike(u - neuron.threshold, inclusive=neuron.inclusive)
                    fired = s.detach()
                    if neuron.reset_mode == "soft":
                        rest[name] = (u - neuron.threshold * fired).detach()
                    else:
                        rest[name] = torch.where(fired > 0, torch.zeros_like(u), u).detach()
                    trace = neuron.decay * traces.get(name, torch.zeros_like(s)) + s
                    traces[name] = trace.detach()
                    acts[name], sees[name] = module.scale * fired, module.scale * trace
                elif isinstance(module, Synapse):
                    seen = module(sees[sources[0]])
                    acts[name] = sees[name] = seen + (module(first) - seen).detach()
                else:
                    assert isinstance(module, LinearMap | Add)
                    acts[name] = module(*(acts[source] for source in sources))
                    sees[name] = module(*(sees[source] for source in sources))
            logits = sees[network.output]
            wanted = functional.one_hot(targets, logits.shape[1]).to(logits.dtype)
            loss = (1 - mse_weight) * functional.cross_entropy(logits, targets)
            loss = loss + mse_weight * functional.mse_loss(logits, wanted)
            (loss / len(inputs)).backward()
        found = gradients_of(network)
        network.zero_grad()
        return found

    return run


class Trained(NamedTuple):
    rule: LearningRule
    losses: list[float]
    accuracy: float


class Train(Protocol):
    def __call__(
        self,
        options: Any,
        images: Images,
        *,
        model: ModelOptions | None = None,
        network: Network | None = None,
        epochs: float = 1,
        lr: float = 3e-3,
        batch_size: int = 64,
        timesteps: int = 6,
        seed: int = 1,
    ) -> Trained: ...


@pytest.fixture
def train() -> Train:
    """Train on images with Adam and a cosine schedule, constant input; test at the end."""

    def run(
        options: Any,
        images: Images,
        *,
        model: ModelOptions | None = None,
        network: Network | None = None,
        epochs: float = 1,
        lr: float = 3e-3,
        batch_size: int = 64,
        timesteps: int = 6,
        seed: int = 1,
    ) -> Trained:
        generator = torch.Generator().manual_seed(seed)
        if network is None:
            model = model or MLP(hidden=(64, 64))
            network = build_model(model, tuple(images.train.shape[1:]), 10, generator)
        rule = build_rule(network, options, generator=generator)
        optimiser = torch.optim.Adam(rule.parameter_groups(lr))
        batches = len(images.train) // batch_size
        total = int(epochs * batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
        losses: list[float] = []

        def step() -> None:
            optimiser.step()
            optimiser.zero_grad()

        online = getattr(options, "update", "accumulate") == "online"
        while len(losses) < total:
            order = torch.randperm(len(images.train), generator=generator)
            for chosen in order.split(batch_size)[:batches][: total - len(losses)]:
                x = images.train[chosen]
                outcome = rule.learn(
                    iter([x] * timesteps),
                    timesteps,
                    images.train_targets[chosen],
                    generator=generator,
                    after_step=step if online else None,
                )
                if not online:
                    step()
                schedule.step()
                losses.append(float(outcome.loss))
        logits = network.run([images.test] * timesteps).logits
        accuracy = float((logits.argmax(1) == images.test_targets).float().mean())
        return Trained(rule, losses, accuracy)

    return run


@pytest.fixture
def cosines_of() -> Callable[..., dict[str, float]]:
    """Cosine of each layer's error to the exact one, for a batch."""

    def run(
        rule: LearningRule, inputs: Iterable[Tensor], timesteps: int, targets: Tensor
    ) -> dict[str, float]:
        assert isinstance(rule, OnlineRule)
        rule.probe = CreditProbe.empty()
        generator = torch.Generator().manual_seed(5)
        rule.learn(iter(inputs), timesteps, targets, generator=generator, after_step=lambda: None)
        found = rule.probe.cosines()
        rule.probe = None
        return found

    return run


class Spy(Linear):
    """A dense synapse without bias that notes what arrives: signals and presynaptic factors."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.arrived: list[Tensor] = []
        self.factors: list[Tensor] = []

    def forward(self, input: Tensor) -> Tensor:
        return input @ self.weight.t()

    def transmit(self, activity: Tensor, weight: Tensor) -> Tensor:
        self.arrived.append(activity.detach().clone())
        return activity @ weight.t()

    def weight_gradient(self, delta: Tensor, activity: Tensor) -> Tensor:
        self.factors.append(activity.clone())
        return delta.t() @ activity


@pytest.fixture
def spy() -> type[Spy]:
    return Spy
