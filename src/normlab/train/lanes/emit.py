"""Writes the function of one operation."""

# mypy: ignore-errors

from __future__ import annotations

from normlab.train.lanes import convolution, pointwise
from normlab.train.lanes.graph import Add, Conv, Map, Operation, Pool, Read
from normlab.train.lanes.memory import Slots
from normlab.train.lanes.writer import LaneWriter

_FORWARD = {
    Conv: convolution.forward,
    Pool: pointwise.pool_forward,
    Add: pointwise.add_forward,
}
_BACKWARD = {
    Conv: convolution.backward,
    Pool: pointwise.pool_backward,
    Add: pointwise.add_backward,
}


def text(
    symbol: str,
    lanes: int,
    name: str,
    *,
    operation: Operation | None,
    stored: Map,
    slots: Slots,
    has_raw: bool,
    beside: Map | None,
) -> str:
    """The module of a function in LLVM's language.

    Args:
        symbol: What the function is called.
        lanes: Vector width.
        name: forward, backward, or without an operation pack and loss.
        operation: What it does.
        stored: The images of `pack`, the logits of `loss`.
        slots: Where gradients lie.
        has_raw: Whether the map that the operation writes is also read raw.
        beside: What is read with the same image before a convolution, or after it on the way back.
    """
    w = LaneWriter(symbol, lanes)
    more = {"beside": beside} if isinstance(operation, Conv) else {}
    if name == "forward":
        _FORWARD[type(operation)](w, operation, slots, **more)
    elif name == "backward":
        _BACKWARD[type(operation)](w, operation, slots, has_raw=has_raw, **more)
    elif name == "pack":
        pointwise.pack(w, stored.channels, stored.height, stored.width)
    else:
        pointwise.softmax_loss(w, Read(stored), slots)
    return w.finish()
