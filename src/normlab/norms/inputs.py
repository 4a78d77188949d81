"""What a layer of plain torch operations asks of its map and its state, refused by name.

Elementwise operations would broadcast a gain of one value, promote integers and speak of
"tensor a" where they fail; torch's own norms refuse all three.
"""

from __future__ import annotations

from torch import Tensor, nn


def check_floating(layer: nn.Module, x: Tensor) -> None:
    """Raise TypeError unless x is a map of real floating-point numbers."""
    if not x.is_floating_point():
        raise TypeError(
            f"{type(layer).__name__} normalizes floating-point maps, x is {x.dtype}: "
            "convert it, for instance with x.float()"
        )


def check_per_channel(layer: nn.Module, channels: int, **state: Tensor | None) -> None:
    """Raise ValueError where state that is there is not one value per channel, shape (C,)."""
    for name, value in state.items():
        if value is not None and (value.dim() != 1 or value.shape[0] != channels):
            raise ValueError(
                f"{name} of {type(layer).__name__} has shape {tuple(value.shape)}: "
                f"({channels},), one value per channel, is needed"
            )
