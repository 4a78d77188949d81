"""In which precision did the layers really compute, and what is kept in which?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from normlab.norms import is_norm
from normlab.records import Check
from normlab.train.liveness.watcher import Watcher
from normlab.train.precision import maps_dtype, weights_dtype

_KINDS = ("convolution", "linear layer", "norm")


class PrecisionWatcher(Watcher):
    """Counts the layers that computed in the declared precision, and looks at what is kept.

    Looked at are the maps that go in and come out of every convolution, linear layer and norm, in
    the first training step and in the first evaluation. A convolution whose result is bfloat16 was
    computed from bfloat16; its images may be wider.

    Args:
        precision: As the recipe declares it.
        model: The model that trains.
        state: What the optimizer remembers.
    """

    def __init__(
        self, precision: str, model: nn.Module, state: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.precision, self.model, self.state = precision, model, state
        self.layers = {n: kind for n, m in model.named_modules() if (kind := _kind(m))}
        self.seen: dict[str, set[torch.dtype]] = {}
        self.losses: set[torch.dtype] = set()
        self.products = set[str]()
        self.looks = True
        self.hooks = [
            model.get_submodule(name).register_forward_hook(self._hook(name, kind))
            for name, kind in self.layers.items()
        ]

    def loss(self, loss: Tensor) -> None:
        """Note the loss's dtype."""
        self.losses.add(loss.dtype)

    def gradients(self) -> None:
        """A step is done: the next ones are as the first."""
        self.looks = False
        self.products.add(torch.get_float32_matmul_precision())

    def evaluating(self) -> None:
        """Look at evaluation too."""
        self.looks = True

    def conclude(self) -> Iterator[Check]:
        """One finding: the layers, and then what must be as wide as the weights."""
        maps, wide = maps_dtype(self.precision), weights_dtype(self.precision)
        so = [name for name, seen in self.seen.items() if seen == {maps}]
        other = [name for name in self.seen if name not in so]
        kept = list(self._kept())
        wrong = [f"{name} is {_name(dtype)}" for _, name, dtype in kept if dtype is not wide]
        if self.precision == "float32":
            wrong += [
                f"torch.set_float32_matmul_precision is '{value}': products are less exact"
                for value in sorted(self.products - {"highest"})
            ]
        found = self._counted(so)
        if self.precision != "bfloat16":
            wrong += [f"{name} computed in {self._dtypes(name)}" for name in other]
        elif (ran := self._ran()) and not set(ran) & set(so):
            wrong.append(f"{ran[0]} computed in {self._dtypes(ran[0])}")
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            found += f"; {wrong[0]}{more}"
        else:
            what = list(dict.fromkeys(kind for kind, _, _ in kept))
            found += f"; {_listed(what)} {_name(wide)}"
        mixed = f"{_name(maps)} in convolutions and linear layers, {_name(wide)} weights"
        yield Check(
            name="precision",
            declared=mixed if maps is not wide else f"{_name(wide)} throughout",
            found=found,
            live=not wrong,
        )

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()

    def _hook(self, name: str, kind: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def look(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if self.looks:
                maps = (*args[:1], output) if kind == "norm" else (output,)
                dtypes = {t.dtype for t in maps if isinstance(t, Tensor) and t.is_floating_point()}
                self.seen.setdefault(name, set()).update(dtypes)

        return look

    def _ran(self) -> list[str]:
        """The convolutions and linear layers that ran; a model may use their weights otherwise."""
        return [name for name in self.seen if self.layers[name] != "norm"]

    def _counted(self, so: list[str]) -> str:
        """How many layers of each kind, in words."""
        parts = []
        for kind in _KINDS:
            of = [name for name, its in self.layers.items() if its == kind]
            if of:
                parts.append(f"{sum(name in so for name in of)} of {len(of)} {kind}s")
        dtype = _name(maps_dtype(self.precision))
        return f"{_listed(parts)} in {dtype}" if parts else "no layer to look at"

    def _dtypes(self, name: str) -> str:
        return _listed(sorted(map(_name, self.seen[name]))) or "no floating point"

    def _kept(self) -> Iterator[tuple[str, str, torch.dtype]]:
        """What must be as wide as the weights: what it is, its name and its dtype."""
        for name, parameter in self.model.named_parameters():
            if parameter.is_floating_point():
                yield "weights", name, parameter.dtype
        for name, kind in self.layers.items():
            if kind == "norm":
                for own, buffer in self.model.get_submodule(name).named_buffers(recurse=False):
                    if buffer.is_floating_point():
                        yield "statistics", f"{name}.{own}", buffer.dtype
        for dtype in self.losses:
            yield "loss", "the loss", dtype
        for tensor in _tensors(self.state()):
            if tensor.is_floating_point() and tensor.ndim:  # counts of steps are what they are
                yield "optimizer state", "the optimizer's state", tensor.dtype


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, _ConvNd):
        return "convolution"
    if isinstance(module, nn.Linear):
        return "linear layer"
    return "norm" if is_norm(module) else None


def _tensors(value: object) -> Iterator[Tensor]:
    """Every tensor in nested mappings and lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
