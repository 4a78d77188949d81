"""What a module or function without parameters does to a map, found by running it.

- passes: linear in the map (identity, reshape, mean, zero padding, dropout in eval) or in step with
  it under any x -> a x + b with a > 0 (max pooling). An activation behind it is still one.
- rectifier: elementwise, lets 4 through nearly as it is and little of -4 (ReLU, SiLU, GELU, ELU).
- bends: any other nonlinear function.
- nothing: no tensor comes out (a shape, say).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from normlab.models.surgery.stand_in import undisturbed

Character = Literal["passes", "rectifier", "bends", "nothing"]
_SIZE = 8


def character(function: Callable[[Tensor], object], channels: int) -> Character | None:
    """Which of these `function` is on maps (2, channels, 8, 8); None if it cannot take them."""
    generator = torch.Generator().manual_seed(0)
    x, other = (
        torch.randn(
            2, channels, _SIZE, _SIZE, generator=generator, dtype=torch.float64, device="cpu"
        )
        for _ in range(2)
    )

    def run(value: Tensor) -> tuple[Tensor, bool] | None:
        output = function(value.clone())  # it may work in place
        parts = [output] if isinstance(output, Tensor) else output
        if not isinstance(parts, list | tuple) or not all(isinstance(p, Tensor) for p in parts):
            return None
        flat = torch.cat([part.reshape(-1).to("cpu", torch.float64) for part in parts])
        return flat, len(parts) == 1 and parts[0].shape == value.shape

    try:
        with torch.no_grad(), undisturbed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _judge(run, x, other, torch.randperm(x.numel(), generator=generator))
    except Exception:  # whatever a module of the user's does on a map it was not made for
        return None


def _judge(
    run: Callable[[Tensor], tuple[Tensor, bool] | None], x: Tensor, other: Tensor, order: Tensor
) -> Character:
    found = run(x)
    if found is None:
        return "nothing"
    y, same_shape = found

    def of(value: Tensor) -> Tensor:
        result = run(value)
        return y.new_full((1,), torch.nan) if result is None else result[0]

    if _close(of(x + other) + of(torch.zeros_like(x)), y + of(other)):
        return "passes"
    if _close(of(2 * x + 3), 2 * y + 3):
        return "passes"
    is_elementwise = same_shape and _close(of(x.flatten()[order].view_as(x)), y[order])
    if is_elementwise:
        high, low = (of(torch.full_like(x, value))[0] for value in (4.0, -4.0))
        if high > 3.4 and low.abs() < 2:
            return "rectifier"
    return "bends"


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-4, atol=1e-4))
