"""Events or the dense product: the rule, what it counts, and that a request overrules it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from neuro import kernels
from neuro.kernels import event_conv2d, event_linear
from neuro.kernels.density import LEAST, MARGIN, Cost
from neuro.kernels.density_estimate import estimate_density
from neuro.kernels.event_conv2d.geometry import Geometry
from neuro.kernels.event_conv2d.op import forward_cost as conv2d_cost
from neuro.kernels.event_linear.op import forward_cost, weight_cost


@pytest.fixture(autouse=True)
def _no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEURO_KERNELS", raising=False)


def test_the_crossing_is_where_both_take_the_same_but_for_the_margin():
    cost = Cost(dense=10 * LEAST, fixed=LEAST, full=32 * LEAST)
    assert cost.fixed + cost.crossing * cost.full == pytest.approx(MARGIN * cost.dense)
    assert Cost(dense=10 * LEAST, fixed=9.5 * LEAST, full=LEAST).crossing == 0
    assert Cost(dense=10 * LEAST, fixed=0, full=LEAST).crossing == 1
    assert Cost(dense=0.9 * LEAST, fixed=0, full=LEAST).crossing == 0
    assert Cost(dense=10 * LEAST, fixed=0, full=0).crossing == 0


def test_small_and_narrow_layers_are_always_dense_and_wide_ones_are_not():
    assert forward_cost(4096, 800, 800).crossing > 0.1
    assert weight_cost(4096, 800, 800).crossing > 0.1
    for sizes in ((1, 800, 800), (1024, 784, 10), (0, 0, 0), (128, 10, 10)):
        assert forward_cost(*sizes).crossing == 0
    assert conv2d_cost((128, 64, 32, 32), (64, 64, 3, 3)).crossing > 0.1
    assert conv2d_cost((128, 2, 34, 34), (16, 2, 3, 3)).crossing > 0.1
    assert conv2d_cost((128, 16, 8, 8), (16, 16, 3, 3)).crossing == 0
    depthwise = Geometry((1, 1), (1, 1), (1, 1), 64)
    assert conv2d_cost((128, 64, 32, 32), (64, 1, 3, 3), depthwise).crossing == 0


@settings(max_examples=50, deadline=None)
@given(
    size=st.integers(0, 400),
    offset=st.integers(0, 3),
    share=st.floats(0, 1),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_density_counts_exactly(size, offset, share, double, seed):
    generator = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(size + offset, generator=generator) < share).to(torch.float64)
    spikes = (spikes if double else spikes.float())[offset:]
    assert estimate_density(spikes) == (spikes.mean() if size else 0)


@pytest.mark.parametrize("share", [0.0, 0.003, 0.1, 0.8, 1.0])
@pytest.mark.parametrize("shape", [(128, 2, 64, 64), (1000, 1031), (3, 2**17)])
def test_density_of_many_numbers_is_estimated_from_all_over(shape, share):
    generator = torch.Generator().manual_seed(0)
    # The same columns of every plane or row: a sample at a fixed distance would miss or hit them.
    where = torch.rand(shape[-1], generator=generator).argsort() < share * shape[-1]
    spikes = where.float().expand(shape).contiguous()
    exact = float(spikes.mean())
    assert estimate_density(spikes) == pytest.approx(exact, rel=0.1, abs=0.002)
    assert estimate_density(spikes) == estimate_density(spikes.clone())


@pytest.mark.parametrize("share", [0.0, 0.05, 0.18, 0.22, 0.5, 1.0])
def test_a_density_near_the_limit_is_looked_at_closer(share):
    generator = torch.Generator().manual_seed(0)
    spikes = (torch.rand(1000, 1031, generator=generator) < share).float()
    whole, near = estimate_density(spikes), estimate_density(spikes, 0.2)
    assert near == pytest.approx(share, abs=0.05)
    assert (near <= 0.2) == (share <= 0.2)
    if 0.15 < share < 0.25:
        assert near == whole


def test_density_of_what_is_not_contiguous_and_of_odd_values():
    spikes = torch.zeros(70, 6)
    spikes[:, 1] = float("nan")
    spikes[::2, 3] = -1e-45
    spikes[:, 5] = -0.0
    assert estimate_density(spikes[:, 1:4:2]) == 0.75
    assert estimate_density(spikes) == 105 / 420


def operands(share: float) -> dict[str, tuple[Tensor, ...]]:
    """Layers large enough for events, whose sums round."""
    generator = torch.Generator().manual_seed(0)

    def draw(shape: tuple[int, ...], share: float = 1.0) -> Tensor:
        mask = torch.rand(shape, generator=generator) < share
        return torch.randn(shape, generator=generator) * mask

    return {
        "event_linear": (draw((256, 800), share), draw((500, 800))),
        "event_conv2d": (draw((16, 32, 16, 16), share), draw((64, 32, 3, 3))),
    }


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", ["event_linear", "event_conv2d"])
def test_density_chooses_and_a_request_by_name_overrules_it(monkeypatch, name, graph):
    dense = functional.linear if name == "event_linear" else functional.conv2d
    ours = {"event_linear": event_linear, "event_conv2d": event_conv2d}[name]

    def run(function, asked: str | None, share: float) -> Tensor:
        given = [each.requires_grad_(graph) for each in operands(share)[name]]
        with pytest.MonkeyPatch.context() as patch:
            if asked:
                patch.setenv("NEURO_KERNELS", asked)
            return function(*given).detach()

    for share, chosen in ((0.02, "numba"), (0.6, "reference")):
        found = {asked: run(ours, asked, share) for asked in (None, "numba", "reference")}
        assert not torch.equal(found["numba"], found["reference"])  # they can be told apart
        assert torch.equal(found["reference"], run(dense, None, share))
        assert torch.equal(found[None], found[chosen])


def test_doctor_tells_the_rule(monkeypatch):
    def reasons(op: str, device: str) -> str:
        (row,) = [row for row in kernels.explain() if (row.op, row.device) == (op, device)]
        return "; ".join(row.reasons)

    crossing = forward_cost(4096, 800, 800).crossing
    assert f"{100 * crossing:.0f} % at 4096 x 800 -> 800" in reasons("event_linear", "cpu")
    assert "0 % at 1024 x 784 -> 10" in reasons("event_linear", "cpu")
    assert "128 x 64 x 32 x 32 -> 64, 3 x 3" in reasons("event_conv2d", "cpu")
    assert "no crossing with the dense product is measured" in reasons("event_conv2d", "cuda")
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    assert reasons("event_linear", "cpu") == "events at any density: asked for by name"
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    assert reasons("event_linear", "cpu") == ""
