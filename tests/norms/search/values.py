"""Hold the numbers of a call against the formula in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from normlab.norms.conformance.definitions import DEFINITIONS
from tests.norms.search import build, expect
from tests.norms.search.cases import NO_FLOATS, Case

if TYPE_CHECKING:
    from tests.norms.search.judge import Call

FLOORS = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 1.6e-2, torch.float16: 2e-3}
_COARSE = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def wrong(call: Call, given: Tensor, found: dict[str, Any]) -> str | None:
    """What is wrong with the numbers, or None."""
    if not given.numel():
        return _empty(call, found)
    if call.case.dtype in NO_FLOATS:  # no norm, which lets anything pass
        return None
    if call.case.kind == "none" and call.case.layout == "mkldnn":
        return None  # torch's activation alone; in oneDNN's layout it takes NaN for 0
    exact = Exact(call, given, torch.float64)
    return (
        _wrong_output(call, exact, found)
        or _wrong_seen(call, exact, found)
        or _wrong_buffers(call, given)
        or _wrong_gradients(call, exact, found)
    )


class Exact:
    """The formula's output, and its gradients when they are asked for, in one dtype."""

    def __init__(
        self,
        call: Call,
        given: Tensor,
        dtype: torch.dtype,
        between: torch.dtype | None = None,
    ) -> None:
        from tests.norms.search.judge import formula

        self.call, self.given = call, given
        self.x = given.to(dtype).detach().requires_grad_()
        self.parameters = {
            n: p.detach().to(dtype).requires_grad_() for n, p in call.parameters.items()
        }
        buffers = {n: b.to(dtype) if b.is_floating_point() else b for n, b in call.buffers.items()}
        self.bare, self.y = formula(call, self.x, self.parameters, buffers, between)

    @cached_property
    def plain(self) -> Exact:
        """The same formula in float32: what its own rounding costs is allowed."""
        return Exact(self.call, self.given, torch.float32)

    @cached_property
    def rounded(self) -> Exact:
        """The exact one, but for the map's dtype in and behind the activation, which is torch's."""
        return Exact(self.call, self.given, torch.float64, self.call.x.dtype)

    @cached_property
    def first(self) -> dict[str, Tensor | None]:
        """Gradients alone."""
        return self.gradients(create_graph=False)

    def gradients(self, create_graph: bool) -> dict[str, Tensor | None]:
        names = list(self.call.wanted)
        tensors = [self.x if n == "input" else self.parameters[n] for n in names]
        dy = self.call.dy
        made = torch.autograd.grad(
            self.y, tensors, dy.to(self.y.dtype), create_graph=create_graph, allow_unused=True
        )
        return {
            n: None if g is None else g * self.call.wanted[n][1]
            for n, g in zip(names, made, strict=True)
        }

    def second(self, gradients: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
        total = second_total(tuple(gradients.values()), self.call.case)
        names = list(self.call.wanted)
        if not isinstance(total, Tensor) or not total.requires_grad:
            return dict.fromkeys(names)
        tensors = [self.x if n == "input" else self.parameters[n] for n in names]
        made = torch.autograd.grad(total, tensors, allow_unused=True)
        return {
            n: None if g is None else g * self.call.wanted[n][1]
            for n, g in zip(names, made, strict=True)
        }


def second_total(gradients: tuple[Tensor | None, ...], case: Case) -> Tensor | int:
    """A sum of the gradients with random weights, whose gradient is the second derivative."""
    source, total = build.generator(case, 8), 0
    for gradient in gradients:
        if gradient is not None:
            drawn = torch.randn(gradient.numel(), generator=source, dtype=torch.float64)
            total = total + (gradient.flatten() * drawn.to(gradient)).sum()  # type: ignore[assignment]
    return total


def corners(call: Call, given: Tensor) -> Tensor | None:
    """Where the derivative hangs on rounding; None where no numbers are to be compared."""
    if call.case.dtype in NO_FLOATS:
        return None
    exact = Exact(call, given, torch.float64)
    buffers = {n: b.double() for n, b in call.buffers.items()}
    return expect.ties(
        call.case, exact.x, exact.bare, (exact.parameters, call.options, buffers)
    ).detach()


def _empty(call: Call, found: dict[str, Any]) -> str | None:
    for name, gradient in (found.get("gradients") or {}).items():
        if gradient is not None and bool((gradient != 0).any()):
            return f"the gradient of {name} is not zero for an empty map"
    counter, before = (
        call.state_after.get("num_batches_tracked"),
        call.buffers.get("num_batches_tracked"),
    )
    if counter is not None and before is not None and not counter.is_meta:
        moved = int(counter) - int(before)
        if moved != int(call.case.training):
            return f"num_batches_tracked moved by {moved} for an empty map; in torch it moves in training"
    return None


def _wrong_output(call: Call, exact: Exact, found: dict[str, Any]) -> str | None:
    scale = _scale(exact.y, call)
    return _off(call, "output", found["output"], exact.y, scale, rivals=lambda: [exact.plain.y])


def _wrong_seen(call: Call, exact: Exact, found: dict[str, Any]) -> str | None:
    case = call.case
    if not case.hook or (
        case.hook.startswith("activation") and expect.behind(case, call.changed) is None
    ):
        return None
    if len(call.seen) != 1:
        return f"the hook ({case.hook}) was called {len(call.seen)} times"
    if case.hook == "activation_before":
        wanted = exact.bare
    else:
        wanted = exact.y / 2 if case.hook.endswith("changed") else exact.y
    return _off(
        call, f"what the hook ({case.hook}) saw", call.seen[0], wanted, _scale(wanted, call)
    )


def _wrong_buffers(call: Call, given: Tensor) -> str | None:
    case = call.case
    if not call.buffers or case.values in {"nan", "infinite"}:
        return None
    known = set(DEFINITIONS[case.kind].buffers)
    if known - call.buffers.keys():  # one of them is None: the others are as the layer says
        return None
    after = expect.advanced(case, given, call.options, call.buffers)
    for name, value in after.items():
        found = call.state_after[name]
        if found is None or found.is_meta:
            continue
        if found.dtype is torch.float16 and case.values == "huge":
            continue  # nothing of 1e36 fits: infinite or, with EvoNorm-B0, the largest number
        if name == "num_batches_tracked":
            if int(found) != int(value):
                return f"num_batches_tracked is {int(found)}, not {int(value)}"
            continue
        floor = max(_floor(call, found.dtype), 1e-3 if case.values == "constant" else 0)
        difference = _error(found, value.to(found.dtype), 1e-3 * value.numel())
        if difference > 5 * floor:
            return f"{name} is off by {difference:.1e}, allowed {5 * floor:.0e}"
    return None


def _wrong_gradients(call: Call, exact: Exact, found: dict[str, Any]) -> str | None:
    if "gradients" not in found or call.case.values in {"nan", "infinite"}:
        return None
    if _hangs_on_rounding(call) and found["gradients"] is not None:
        return None
    if found["gradients"] is None:
        return "the output has no gradient" if call.wanted else None
    size = float(call.dy.double().norm())
    twice = "second" in found
    expected = exact.gradients(twice) if twice else exact.first
    for name, gradient in found["gradients"].items():
        said = _wrong_gradient(call, exact, name, (gradient, expected[name]), size)
        if said:
            return said
    if twice and size and not _delicate(call):
        return _wrong_second(call, exact.second(expected), found["second"], size)
    return None


def _hangs_on_rounding(call: Call) -> bool:
    """Whether rounding decides on the gradients as a whole.

    Where xhat is all rounding, and with it the gain's gradient and a ReLU's mask; where a gradient of
    the output that is one number for all cannot be 0 at the corners of the activation.
    """
    at_corners = call.corners is not None and bool(call.corners.any())
    return _without_spread(call) or (call.case.dy == "expanded" and at_corners)


def _wrong_gradient(
    call: Call, exact: Exact, name: str, pair: tuple[Tensor | None, Tensor | None], size: float
) -> str | None:
    found, right = pair
    tensor = call.wanted[name][0]
    right = torch.zeros_like(tensor).double() if right is None else right
    if call.case.values == "huge" and tensor.dtype is torch.float16:
        return None  # nothing of 1e18 fits
    if found is None:
        return f"there is no gradient of {name}" if bool((right != 0).any()) else None
    if found.shape != tensor.shape or found.dtype != tensor.dtype:
        return f"the gradient of {name} is {tuple(found.shape)}, {found.dtype}"
    scale, what = _gradient_scale(call, name, size), f"the gradient of {name}"

    def rivals() -> list[Tensor | None]:
        return [exact.plain.first[name], exact.rounded.first[name]]

    return _off(call, what, found, right, scale, rivals=rivals)


def _wrong_second(
    call: Call, expected: dict[str, Tensor | None], found: dict[str, Any], size: float
) -> str | None:
    # The gradient of a half gain among float64 ones is half, and the sum of all has its error.
    dtypes = (tensor.dtype for tensor, _ in call.wanted.values())
    floor = 1e-6 if _floor(call, *dtypes) <= 1e-9 else 5e-3
    for name, right in expected.items():
        if right is None:
            continue
        gradient = found.get(name)
        if gradient is None:
            gradient = torch.zeros_like(right)
        difference = _error(gradient, right.detach(), size)
        if difference > floor:
            return (
                f"the second derivative of {name} is off by {difference:.1e}, allowed {floor:.0e}"
            )
    return None


def _few(call: Call) -> bool:
    """Whether statistics are of few values: derivatives are then small differences of large numbers."""
    n, height, width = call.size
    return height * width <= 4 or n * height * width <= 8 or call.case.values == "constant"


def _delicate(call: Call) -> bool:
    half = call.x.dtype in {torch.float16, torch.bfloat16} or call.case.saved == "half"
    return _few(call) or half or call.case.values != "normal"


def _scale(y: Tensor, call: Call) -> float:
    """Below this norm an output's error is absolute."""
    smallest = 0.1 if call.case.values == "constant" else 1e-3
    if _without_spread(call):
        smallest = 1e8 / call.options["eps"] ** 0.5
    return smallest * y.numel() ** 0.5


def _without_spread(call: Call) -> bool:
    """Whether every row of a huge map is one number.

    What rounding leaves of its mean, 1e4 of 1e18 in float64, is then divided by the root of eps.
    """
    return call.case.values == "huge" and call.case.layout == "expanded_pixels"


def _gradient_scale(call: Call, name: str, size: float) -> float:
    if name == "input":
        if call.case.values == "huge":
            return (1e-18 if _few(call) else 1e-21) * size
        return size / call.options["eps"] ** 0.5 if _few(call) else 1e-2 * size
    return size * (10 if _few(call) else 1)


def _floor(call: Call, *dtypes: torch.dtype) -> float:
    coarsest = max((*dtypes, call.x.dtype), key=lambda d: _COARSE.index(d) if d in _COARSE else 0)
    floor = FLOORS[coarsest]
    if call.case.saved == "half":
        floor = max(floor, 1e-2)
    if call.case.values == "constant":
        floor = max(floor, 1e-2 if coarsest is not torch.float64 else 1e-6)
    if call.case.values == "huge":
        floor = max(floor, 1e-3)
    if call.case.values == "offset":
        floor *= 10
    return floor


def _off(
    call: Call,
    what: str,
    found: Tensor,
    right: Tensor,
    scale: float,
    *,
    rivals: Callable[[], list[Tensor | None]] = list,
) -> str | None:
    """Say by how much it is off, unless a rival, the formula with its own rounding, is no better."""
    case, floor = call.case, _floor(call, found.dtype)
    strict = case.values != "infinite"
    difference = _error(found, right, scale, strict=strict)
    if difference <= floor:
        return None
    # Where the formula itself overflows it is no measure.
    known = case.values != "huge" and call.x.dtype is not torch.float64
    for rival in rivals() if known else ():
        if rival is not None:
            floor = max(floor, 3 * _error(rival, right, scale, strict=strict))
    return f"{what} is off by {difference:.1e}, allowed {floor:.0e}" if difference > floor else None


def _error(found: Tensor, right: Tensor, scale: float, *, strict: bool = True) -> float:
    """Relative error in the Euclidean norm; absolute below a norm of `scale`."""
    found = found.to_dense() if found.layout is not torch.strided else found
    found, right = (
        found.detach().as_subclass(Tensor).double().flatten(),
        right.detach().double().flatten(),
    )
    if found.shape != right.shape:
        return float("inf")
    finite = right.isfinite()
    if strict:
        strange = bool((found.isfinite() != finite).any())
    else:  # a nan may spread further, but no number may stand where there is none
        strange = bool((found.isfinite() & ~finite).any())
        finite &= found.isfinite()
    if strange:
        return float("inf")
    found, right = found[finite], right[finite]
    return float((found - right).norm() / max(float(right.norm()), scale, 1e-30))
