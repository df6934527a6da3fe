"""The gradient of a dense synapse's weight from events, alone and added to what is there."""

import pytest
import torch
from torch import Tensor

from neuro.kernels import add_event_gradient, event_gradient
from neuro.kernels.event_linear.op import _ADD_GRADIENT, _GRADIENT


def operands(
    rows: int, inputs: int, outputs: int, share: float, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Errors of the currents, and graded spikes, most of them 0."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn((rows, outputs), generator=generator, dtype=torch.float64)
    values = torch.randn((rows, inputs), generator=generator, dtype=torch.float64)
    spikes = values * (torch.rand((rows, inputs), generator=generator) < share)
    return errors.to(dtype), spikes.to(dtype)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 65, 33), (130, 211, 97), (0, 4, 3), (5, 0, 3)])
def test_both_are_the_dense_product(implementation, shape, share, dtype, within):
    errors, spikes = operands(*shape, share)
    exact = errors.t() @ spikes
    given = operands(*shape, share, dtype)
    found = event_gradient(*given)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=within)
    total = torch.full_like(found, 2.0)
    add_event_gradient(total, *given)
    torch.testing.assert_close(total.double(), 2 + exact, rtol=0, atol=within)


@pytest.mark.parametrize("layout", ["transposed", "strided"])
def test_operands_may_lie_as_they_like(implementation, layout):
    errors, spikes = operands(6, 40, 9, 0.3)
    if layout == "transposed":
        apart = errors.t().contiguous().t(), spikes.t().contiguous().t()
    else:
        apart = errors.repeat_interleave(2, 1)[:, ::2], spikes.repeat_interleave(2, 1)[:, ::2]
    torch.testing.assert_close(event_gradient(*apart), errors.t() @ spikes)
    total = torch.zeros(9, 40, dtype=torch.float64)
    add_event_gradient(total, *apart)
    torch.testing.assert_close(total, errors.t() @ spikes)


def test_operands_that_do_not_fit_are_told():
    errors, spikes = operands(6, 40, 9, 0.3)
    with pytest.raises(ValueError, match="event_gradient: gradient of the currents"):
        event_gradient(errors[:5], spikes)
    with pytest.raises(ValueError, match=r"event_gradient: of_currents is torch\.float32"):
        event_gradient(errors.float(), spikes)
    with pytest.raises(ValueError, match=r"total \(40, 9\)"):
        add_event_gradient(torch.zeros(40, 9).double(), errors, spikes)
    with pytest.raises(ValueError, match="total must be contiguous"):
        add_event_gradient(torch.zeros(40, 9).double().t(), errors, spikes)
    with pytest.raises(ValueError, match="6 rows of spikes, 5 of gradients"):
        add_event_gradient(torch.zeros(9, 40).double(), errors[:5], spikes)


def test_the_operations_are_sound_and_compile():
    errors, spikes = operands(6, 40, 9, 0.3, torch.float32)
    total = torch.zeros(9, 40)
    torch.library.opcheck(_GRADIENT.op, (errors, spikes))
    torch.library.opcheck(_ADD_GRADIENT.op, (total, errors, spikes))

    def learn(total: Tensor) -> Tensor:
        add_event_gradient(total, errors, spikes)
        return event_gradient(errors, spikes)

    compiled = torch.compile(learn, fullgraph=True, backend="aot_eager")
    one, other = total.clone(), total.clone()
    assert torch.equal(compiled(one), learn(other))
    assert torch.equal(one, other)
    assert one.any()
