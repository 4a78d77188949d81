"""What a training step computes and keeps, found without computing: on tensors without values."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from normlab.augment import AUGMENTATIONS
from normlab.models import build
from normlab.recipe import Recipe
from normlab.recipe.training import OneCycle, Sgd
from normlab.train.losses import LOSSES
from normlab.train.precision import weights_dtype


class Step(NamedTuple):
    """A training step: floating point operations for each image, and bytes.

    Attributes:
        flops: Of one image's forward and backward pass.
        peak: Bytes at most that the step takes beside parameters and buffers: activations,
            gradients, what is in between.
    """

    flops: int
    peak: int


class Scoring(NamedTuple):
    """A batch in evaluation, and the model itself.

    Attributes:
        flops: Of one image's forward pass; see `normlab.train.cost.flops`.
        peak: Bytes at most beside parameters and buffers.
        kept: Bytes of parameters and buffers.
        trained: Bytes of the parameters that are trained: as much again for every value that an
            optimizer remembers of them.
    """

    flops: int
    peak: int
    kept: int
    trained: int


def follow_step(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, images: int
) -> Step | None:
    """Follow one training step on torch's meta device.

    Every storage that an operation makes counts from then until nothing refers to it: the peak is
    that of the real step, except for what is inside of one operation (a workspace of a convolution,
    the double precision of a norm's loops). bfloat16 counts as float32, an upper bound.

    Args:
        recipe: What is trained; data, batch size and augmentation of it do not matter here.
        shape: (C, H, W) of one image.
        num_classes: Number of classes.
        images: That the model sees in a step.

    Returns:
        None for a model that cannot be followed without values.
    """
    dtype, ledger = weights_dtype(recipe.precision), _Ledger()
    try:
        model = _model(recipe, shape, num_classes).train()
        with torch.enable_grad(), ledger:
            inputs = torch.empty(images, *shape, dtype=dtype, device="meta")
            labels = torch.empty(images, dtype=torch.int64, device="meta")
            loss = LOSSES[recipe.loss](model(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
    except _CANNOT:
        return None
    return Step(ledger.flops // images, ledger.peak)


def follow_scoring(
    recipe: Recipe, shape: tuple[int, int, int], num_classes: int, images: int
) -> Scoring | None:
    """Follow one batch in evaluation; see `follow_step`."""
    ledger = _Ledger()
    try:
        model = _model(recipe, shape, num_classes).eval()
        with torch.no_grad(), ledger:
            model(torch.empty(images, *shape, dtype=weights_dtype(recipe.precision), device="meta"))
    except _CANNOT:
        return None
    return Scoring(
        flops=ledger.flops // images,
        peak=ledger.peak,
        kept=_bytes((*model.parameters(), *model.buffers())),
        trained=_bytes(p for p in model.parameters() if p.requires_grad),
    )


_CANNOT = (RuntimeError, NotImplementedError, ValueError, TypeError)


def _model(recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    model = build(recipe, shape, num_classes, device="meta").model
    return model.to(dtype=weights_dtype(recipe.precision))


def remembered(recipe: Recipe) -> int:
    """Values that the optimizer remembers of each parameter."""
    if not isinstance(recipe.optimizer, Sgd):
        return 2
    cycles = isinstance(recipe.schedule, OneCycle) and recipe.schedule.cycle_momentum
    return int(recipe.momentum > 0 or cycles)


def copies(recipe: Recipe) -> int:
    """Images that augmentation makes of each one that goes in."""
    made = 1
    for spec in recipe.augment:
        if not spec.off:
            made *= AUGMENTATIONS[spec.kind](spec).copies
    return made


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and the bytes of storages from their making to their end.

    Attributes:
        flops: As torch's `FlopCounterMode` counts them, which is slower: it asks for modules, too.
        peak: The most bytes there were at a time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.peak = self._now = 0
        self._seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the operation and enter it."""
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, Tensor):
                self._add(made.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return

        def gone(_: object) -> None:
            self._now -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, gone)
        self._now += size
        self.peak = max(self.peak, self._now)
