"""The fused step against torch's single form, and what torch's fused loops do not look at."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, optim

from normlab.train.fused import FusedStep, can_fuse, lay_out_state

Optimizer = optim.SGD | optim.Adam
FORMS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p, **form: optim.SGD(p, 0.1, 0.9, **form),
    "nesterov": lambda p, **form: optim.SGD(p, 0.1, 0.9, nesterov=True, **form),
    "without momentum": lambda p, **form: optim.SGD(p, 0.1, **form),
    "adam": lambda p, **form: optim.Adam(p, 0.01, (0.9, 0.99), **form),
}
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def parameters(
    layout: torch.memory_format, dtype: torch.dtype = torch.float32
) -> list[nn.Parameter]:
    source = torch.Generator().manual_seed(0)
    shapes = ((8, 4, 3, 3), (13,), (5, 3), (6, 1, 1, 1))
    drawn = [torch.randn(shape, dtype=dtype, generator=source) for shape in shapes]
    return [nn.Parameter(x.contiguous(memory_format=layout) if x.ndim == 4 else x) for x in drawn]


def gradients(step: int, layout: torch.memory_format, ours: list[nn.Parameter]) -> list[Tensor]:
    source = torch.Generator().manual_seed(100 + step)
    drawn = [torch.randn(p.shape, dtype=p.dtype, generator=source) for p in ours]
    return [g.contiguous(memory_format=layout) if g.ndim == 4 else g for g in drawn]


def trained(
    form: str, fused: bool, layout: torch.memory_format, slopes: torch.memory_format, **made: object
) -> list[nn.Parameter]:
    """After four steps, in the second and third of which the last parameter has no gradient."""
    own = parameters(layout, **made)  # type: ignore[arg-type]
    optimizer = FORMS[form](own, fused=True) if fused else FORMS[form](own, foreach=False)
    step = FusedStep(optimizer) if fused else optimizer.step
    for number in range(4):
        for parameter, gradient in zip(own, gradients(number, slopes, own), strict=True):
            parameter.grad = gradient
        if number in {1, 2}:
            own[-1].grad = None
        step()
    return own


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("slopes", LAYOUTS)
def test_equals_torch_s_single_form_in_every_layout(
    form: str, layout: torch.memory_format, slopes: torch.memory_format
) -> None:
    expected = trained(form, False, torch.contiguous_format, torch.contiguous_format)
    for a, b in zip(trained(form, True, layout, slopes), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
def test_equals_it_in_float64(form: str) -> None:
    sides = [trained(form, fused, *LAYOUTS, dtype=torch.float64) for fused in (True, False)]
    for a, b in zip(*sides, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("form", FORMS)
def test_is_torch_s_fused_step_to_the_bit(form: str) -> None:
    ours, theirs = parameters(torch.contiguous_format), parameters(torch.contiguous_format)
    mine, other = FORMS[form](ours, fused=True), FORMS[form](theirs, fused=True)
    step = FusedStep(mine)
    for number in range(3):
        for side in (ours, theirs):
            for p, g in zip(side, gradients(number, torch.contiguous_format, side), strict=True):
                p.grad = g
        step()
        other.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
        assert mine.state[a].keys() >= {k for k, v in other.state[b].items() if v is not None}
        assert all(torch.equal(v, other.state[b][k]) for k, v in mine.state[a].items())


def test_a_parameter_thawed_later_starts_its_momentum_then() -> None:
    early, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    step = FusedStep(optim.SGD([early, late], 0.1, 0.9, fused=True))
    early.grad = torch.ones(3)
    step()
    late.grad = torch.ones(3)
    step()
    torch.testing.assert_close(early.detach(), torch.full((3,), 1 - 0.1 - 0.19))
    torch.testing.assert_close(late.detach(), torch.full((3,), 0.9))


@pytest.mark.parametrize("form", ["sgd", "adam"])
def test_a_state_of_another_layout_is_laid_out_anew(form: str) -> None:
    ends = []
    for later in LAYOUTS:
        own = parameters(torch.contiguous_format)
        optimizer = FORMS[form](own, fused=True)
        for p, g in zip(own, gradients(0, torch.contiguous_format, own), strict=True):
            p.grad = g
        FusedStep(optimizer)()
        again = [
            nn.Parameter(
                p.detach()
                .clone(memory_format=torch.contiguous_format)
                .contiguous(memory_format=later)
            )
            if p.ndim == 4
            else nn.Parameter(p.detach().clone())
            for p in own
        ]
        resumed = FORMS[form](again, fused=True)
        resumed.load_state_dict(optimizer.state_dict())
        lay_out_state(resumed)
        for p, g in zip(again, gradients(1, torch.contiguous_format, again), strict=True):
            p.grad = g
        FusedStep(resumed)()
        ends.append(again)
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([torch.ones(3, 4)], True),
        ([torch.ones(3, 4).t()], True),
        ([torch.ones(8, 4, 3, 3).contiguous(memory_format=torch.channels_last)], True),
        ([torch.ones(4, 4)[:, :2]], False),
        ([torch.ones(1).expand(3)], False),
        ([torch.ones(3, dtype=torch.complex64)], False),
        ([torch.ones(3), torch.ones(3, dtype=torch.float64)], False),
        ([torch.ones(3, device="meta")], False),
    ],
)
def test_only_dense_real_parameters_of_one_dtype_are_fused(
    made: list[Tensor], expected: bool
) -> None:
    assert can_fuse(made) is expected
