"""Residual blocks: what they are made of, and how the recipe's norm stands in them.

    post:  y = activation(shortcut(x) + branch(x))        branch: conv, norm, activation, conv, norm
    pre:   y = shortcut(x or h) + branch(h),  h = activation(norm(x))   conv, norm, activation, conv

He et al. 2016 (arXiv:1512.03385 and 1603.05027). A projection shortcut takes h, an identity x. The
last norm of a post block has no activation of its own, and the one behind the addition has no norm:
there is no place for a norm that contains its activation (`filter_response`, `evonorm_s0` and
`_b0`). Those stand in pre blocks, as in their papers, where every norm is followed by one. So does
`scaled_ws`, whose block is that of Brock et al. 2021 (arXiv:2101.08692):

    y = x + alpha * f(x / beta),  beta^2 = the predicted variance of x,  alpha = 0.2

The variance is 1 behind the stem and grows by alpha^2 in each block; a projection takes the
activated x / beta, so that it starts again at 1 + alpha^2; new channels of zeros dilute it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from normlab.errors import UserError
from normlab.models.residual import ResidualBlock, Scale, ZeroPad
from normlab.models.slots import Slots
from normlab.recipe.models import Residual

Layers = list[tuple[str, nn.Module]]

ALPHA = 0.2
"""Weight of a branch under `scaled_ws`."""


class Step(NamedTuple):
    """One convolution of a branch."""

    width: int
    kernel: int
    stride: int = 1


class Blocks:
    """Makes the blocks of one net in their order, as a recipe says.

    Args:
        slots: What fills norms, activations and dropout.
        spec: The model's options.
        blocks: How many there will be, for the linear rule of stochastic depth.
        zero_pad: Where a block changes the shape its shortcut is every stride-th pixel and zeros
            for new channels, instead of a projection.
        activation_before_addition: Whether an identity block has one more activation there.
        projection_dropout: How many dropout slots a projection block has, and whether it takes the
            next slot's probability.
    """

    def __init__(
        self,
        slots: Slots,
        spec: Residual,
        blocks: int,
        *,
        zero_pad: bool = False,
        activation_before_addition: bool = False,
        projection_dropout: tuple[int, bool] = (3, False),
    ) -> None:
        self.slots, self.spec, self.blocks = slots, spec, blocks
        self.zero_pad = zero_pad
        self.activation_before_addition = activation_before_addition
        self.projection_dropout = projection_dropout
        self.pre = self._is_pre()
        self.scaled = slots.traits.is_parametrization and spec.norm_slots > 0
        self.variance = 1.0
        self.made = 0

    def block(self, channels: int, steps: Sequence[Step]) -> ResidualBlock:
        """The next block, from `channels` to the width of its last step."""
        self.made += 1
        width, stride = steps[-1].width, math.prod(step.stride for step in steps)
        changes = width != channels or stride > 1
        projects = changes and not self.zero_pad
        enter: Layers = []
        if self.pre:
            enter = self.entry(channels, normed=self.spec.norm_slots > 0, number=1)
            branch = self._pre_branch(channels, steps, projects=projects)
        else:
            branch = self._post_branch(channels, steps, projects=projects)
        if self.scaled:
            branch.append(("alpha", Scale(ALPHA)))
        branch.append(("depth", self.slots.stochastic_depth(self.made, self.blocks)))
        shortcut: nn.Module = nn.Identity()
        if projects:
            shortcut = self._projection(channels, width, stride)
        elif changes:
            shortcut = ZeroPad(width - channels, stride)
        self.variance = 1.0 if projects else self.variance * channels / width
        self.variance += ALPHA**2
        leave = nn.Identity() if self.pre else self.slots.activation(scaled=False)
        return ResidualBlock(in_a_row(enter), in_a_row(branch), shortcut, leave, projects=projects)

    def entry(self, channels: int, *, normed: bool, number: int | str = "") -> Layers:
        """Norm and activation of the stem, in front of a pre block, or behind the last one."""
        layers = self._norm(number, channels, normed=normed)
        if self.scaled and normed:
            return [("scale", Scale(self.variance**-0.5)), *layers]
        return layers

    def _is_pre(self) -> bool:
        spec, kind = self.spec, self.slots.recipe.norm.kind
        norms = (spec.has_norm(spec.stem_norm), spec.has_norm(spec.shortcut_norm), spec.norm_slots)
        if not (any(norms) and self.slots.traits.contains_activation):
            return spec.block == "pre"
        if spec.block == "post":
            raise UserError(
                f"model.block is 'post': norm '{kind}' comes with its activation, and such a block "
                "ends in a norm without one; 'pre' and 'auto' are allowed"
            )
        if spec.block == "auto":
            self.slots.notes.append(
                f"norm '{kind}' comes with its activation: pre-activation blocks (model.block: pre)"
            )
        return True

    def _post_branch(self, channels: int, steps: Sequence[Step], *, projects: bool) -> Layers:
        layers: Layers = []
        for index, step in enumerate(steps, start=1):
            normed = index <= self.spec.norm_slots
            active = index < len(steps) or (self.activation_before_addition and not projects)
            layers.append((f"conv{index}", self._conv(channels, step, before_norm=normed)))
            layers += self._norm(index, step.width, normed=normed, activate=active)
            layers += self._dropout(index, projects=projects)
            channels = step.width
        return layers

    def _pre_branch(self, channels: int, steps: Sequence[Step], *, projects: bool) -> Layers:
        layers: Layers = []
        for index, step in enumerate(steps, start=1):
            normed, next_normed = index <= self.spec.norm_slots, index < self.spec.norm_slots
            conv = self._conv(channels, step, before_norm=next_normed, normed=normed)
            layers.append((f"conv{index}", conv))
            if index < len(steps):
                layers += self._norm(index + 1, step.width, normed=next_normed)
            elif self.activation_before_addition and not projects:
                layers.append(("activation", self.slots.activation(scaled=normed)))
            layers += self._dropout(index, projects=projects)
            channels = step.width
        return layers

    def _conv(
        self, channels: int, step: Step, *, before_norm: bool, normed: bool | None = None
    ) -> nn.Module:
        return self.slots.conv(
            channels,
            step.width,
            step.kernel,
            stride=step.stride,
            padding=step.kernel // 2,
            before_norm=before_norm,
            normed=normed,
        )

    def _norm(
        self, number: int | str, channels: int, *, normed: bool, activate: bool = True
    ) -> Layers:
        """Norm and activation where they are; what is not there is left out."""
        if normed:
            return [(f"norm{number}", self.slots.norm(channels, activate=activate))]
        return [(f"activation{number}", self.slots.activation(scaled=False))] if activate else []

    def _dropout(self, slot: int, *, projects: bool) -> Layers:
        slots, p_of_next = self.projection_dropout if projects else (slot, False)
        if slot > slots:
            return []
        return [(f"dropout{slot}", self.slots.dropout(slot, p_of_next=p_of_next))]

    def _projection(self, channels: int, width: int, stride: int) -> nn.Module:
        normed = self.spec.has_norm(self.spec.shortcut_norm)
        # What enters a pre block's projection is normalized: `auto` adds no second norm.
        behind = normed and not (self.pre and self.spec.shortcut_norm == "auto")
        conv = self._conv(channels, Step(width, 1, stride), before_norm=behind, normed=normed)
        layers: Layers = [("conv", conv)]
        if behind:
            layers.append(("norm", self.slots.norm(width)))
        return in_a_row(layers)


def in_a_row(layers: Layers) -> nn.Module:
    """Named layers one after another; none are the identity."""
    return nn.Sequential(OrderedDict(layers)) if layers else nn.Identity()
