"""One plain layer made from a definition: right, slow, and with parts that can be made wrong.

It works in float64 throughout, so that what it gets wrong is what was planted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normlab.norms import BatchInstanceNorm
from normlab.norms.conformance.definitions import DEFINITIONS, Definition, Options, Values
from normlab.norms.filter_response import LEARNED_EPS

Forward = Callable[[Tensor, Values, Options, Values, bool], Tensor]
Advance = Callable[[Tensor, Options, Values], Values]


class _Plain(nn.Module):
    """What `plain` makes: see there."""

    definition: Definition
    forward_as: Forward
    advance_as: Advance | None
    dtype: torch.dtype
    refuse: bool
    activate: bool
    kind: str
    track_running_stats = True
    __constants__ = ("momentum", "eps")  # what torch.jit reads of a batch norm

    def __init__(
        self,
        num_channels: int,
        *,
        eps: float | None = None,
        affine: bool = True,
        activation: str | None = None,
        **options: Any,
    ) -> None:
        nn.Module.__init__(self)
        definition = self.definition
        if activation and definition.contains_activation and self.refuse:
            raise ValueError("contains its activation")
        made = {"relu": nn.ReLU, "silu": nn.SiLU}.get(str(activation), nn.Identity)
        self.activation = made() if self.activate else nn.Identity()
        self.num_channels = num_channels
        self.eps = definition.eps if eps is None else eps
        self.momentum: float | None = 0.1
        self.progress = 0.0
        self.option_names = [name for name in options if name not in definition.parameters]
        for name in self.option_names:
            setattr(self, name, options[name])
        for name, value in definition.parameters.items():
            if isinstance(value, str) and not options.get(name):
                continue
            if not affine and name in {"weight", "bias"}:
                continue
            size = 3 if name in {"mean_weight", "var_weight"} else num_channels
            self.register_parameter(name, nn.Parameter(torch.empty(size)))
        for name in definition.buffers:
            counts = name == "num_batches_tracked"
            self.register_buffer(name, torch.tensor(0) if counts else torch.empty(num_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for name, value in self.definition.parameters.items():
            start = {"learned_eps": LEARNED_EPS}.get(name, 0.0) if isinstance(value, str) else value
            if name in self._parameters:
                nn.init.constant_(self.get_parameter(name), start)
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        for name, value in self.definition.buffers.items():
            self.get_buffer(name).fill_(value)

    def parts(self) -> Values:
        """Gains and the like by name, whatever makes them."""
        made = {name: getattr(self, name, None) for name in self.definition.parameters}
        return {name: value for name, value in made.items() if value is not None}

    def options(self) -> Options:
        names = ["eps", "momentum", "progress", *self.option_names]
        return {name: getattr(self, name) for name in names}

    def check(self, x: Tensor) -> None:
        if not self.refuse or self.kind == "none":
            return
        if not x.is_floating_point():
            raise TypeError(f"x is {x.dtype}")
        for name, value in {**self.parts(), **dict(self.named_buffers())}.items():
            per_channel = value.dim() and name not in {"mean_weight", "var_weight"}
            if per_channel and value.shape != (self.num_channels,):
                raise ValueError(f"{name} has shape {tuple(value.shape)}")
        held = self.training or self.kind in {"instance", "group"}
        if held and self.definition.refuses(x.shape[0], x.shape[2] * x.shape[3]):
            raise ValueError("too small")

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        tracks = self.training and type(self).advance_as is not None
        if not x.numel():
            if tracks:
                self.get_buffer("num_batches_tracked").add_(1)
            return x
        wide = x.to(self.dtype)
        buffers = dict(self.named_buffers())
        y = type(self).forward_as(wide, self.parts(), self.options(), buffers, self.training)
        if tracks:
            with torch.no_grad():
                moved = type(self).advance_as(wide.detach(), self.options(), buffers)
                for name, value in moved.items():
                    self.get_buffer(name).copy_(value)
        return self.activation(y.to(x.dtype))  # type: ignore[no-any-return]

    def after_step(self) -> None:
        if hasattr(self, "rho"):
            BatchInstanceNorm.after_step(self)  # type: ignore[arg-type]


def plain(
    kind: str,
    *,
    forward: Forward | None = None,
    advance: Advance | None = None,
    dtype: torch.dtype = torch.float64,
    refuse: bool = True,
    activate: bool = True,
    **methods: Any,
) -> type[nn.Module]:
    """A layer class made from a kind's definition, with parts of it replaced.

    Args:
        kind: The kind.
        forward: In place of the definition's formula.
        advance: In place of how the definition's buffers move.
        dtype: What it computes in.
        refuse: Whether it refuses what it should.
        activate: Whether it runs its activation.
        methods: Further attributes of the class.
    """
    definition = DEFINITIONS[kind]
    bases = (_Plain, _BatchNorm) if definition.buffers else (_Plain,)
    attributes = {
        "definition": definition,
        "forward_as": staticmethod(forward or definition.forward),
        "advance_as": staticmethod(advance or definition.advance) if definition.advance else None,
        "dtype": dtype,
        "refuse": refuse,
        "activate": activate,
        "kind": kind,
        **methods,
    }
    return type("Plain", bases, attributes)
