"""A graph as compiled functions and the arrays they work on: forward and backward of a batch.

Memory of the maps is that of all lanes; `Program.bytes` says how much there is.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from normlab.native import compiled
from normlab.train.lanes.graph import Conv, Graph, Map, Operation
from normlab.train.lanes.memory import assign, reads
from normlab.train.lanes.norms import LaneNorm
from normlab.train.lanes.translate import translate

Floats = npt.NDArray[np.float32]
_PAGE = 1 << 21
_ROOM = 64
"""Bytes between arrays, so that equal places of two do not fall on one line of a cache."""


_CHUNK = 4096
"""Values of an image and lane that are worked on before the next operation has its turn."""


class Arena:
    """Zeros on large pages: maps on small ones are scattered, and thrash the caches' tags."""

    def __init__(self) -> None:
        self.chunk: npt.NDArray[np.uint8] | None = None
        self.used = 0
        self.bytes = 0

    def zeros(self, shape: tuple[int, ...], dtype: Any = np.float32) -> npt.NDArray[Any]:
        """An array at a multiple of 64 bytes."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.chunk is None or self.used + size > self.chunk.size:
            whole = -(-max(size, 1 << 26) // _PAGE) * _PAGE + _PAGE
            if hasattr(mmap, "MADV_HUGEPAGE"):  # memory that could be shared has small pages
                private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
                memory = mmap.mmap(-1, whole, flags=private)
                memory.madvise(mmap.MADV_HUGEPAGE)
            else:
                memory = mmap.mmap(-1, whole)
            chunk = np.frombuffer(memory, np.uint8)
            self.chunk, self.used = chunk[-chunk.ctypes.data % _PAGE :], 0
        first = self.used
        self.used = -(-(first + size) // 64) * 64 + 5 * _ROOM
        self.bytes += size
        array: npt.NDArray[Any] = self.chunk[first : first + size].view(dtype).reshape(shape)
        return array


class Program:
    """Forward and backward of all lanes.

    Args:
        graph: The model.
        norms: Each norm by name; its statistics are those of all lanes.
        lanes: 4, 8 or 16.
        batch: Largest number of images of a lane in a step.

    Attributes:
        parameters: (P, lanes), and `gradients` likewise; rows in the order of the graph's names.
        bits: What each mask keeps, by name; see `normlab.train.lanes.masks`.
        scales: The factor of what is kept, (lanes,) each.
        buffers: Running statistics, by norm and name, (C, lanes).
    """

    def __init__(self, graph: Graph, norms: Mapping[str, LaneNorm], lanes: int, batch: int) -> None:
        self.graph, self.norms, self.lanes, self.batch = graph, dict(norms), lanes, batch
        self.arena = Arena()
        rows = sum(int(np.prod(shape)) for _, shape in graph.parameters)
        self.parameters: Floats = self.arena.zeros((rows, lanes))
        self.gradients: Floats = self.arena.zeros((rows, lanes))
        self.slots = assign(graph, lambda name: self.norms[name].per_image)
        self.rows = _rows(graph)
        self._of_norm = {name: self._parameters_of(name) for name in self.norms}
        self.segments = _segments(graph)
        self.buffers: dict[str, dict[str, Floats]] = {name: {} for name in self.norms}
        self.bits: dict[str, npt.NDArray[Any]] = {}
        self.scales: dict[str, Floats] = {}
        self._buffers: dict[int, npt.NDArray[Any]] = {}
        self._raw = {
            read.map.number
            for operation in graph.operations
            for read in reads(operation)
            if read.raw and read.map.norm
        }
        self._arrays = {stored.number: self._of_map(stored) for stored in graph.maps}
        scratch = max(max(stored.size, 2 * stored.channels) for stored in graph.maps)
        self._scratch = [self.arena.zeros((scratch, lanes)) for _ in range(4)]
        self._told: Floats = self.arena.zeros((batch, _loss_rows(), lanes))
        self._share: Floats = self.arena.zeros((1, lanes))
        self._addresses = np.zeros(lanes, np.int64)
        self._forward = [self._function("forward", o) for o in graph.operations]
        self._backward = [self._function("backward", o) for o in graph.operations]
        self._pack = self._function("pack", None)
        self._loss = self._function("loss", None)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        shape: tuple[int, int, int],
        lanes: int,
        batch: int,
        dropping: Collection[str] = (),
    ) -> Program:
        """The program of a model; see `translate` for `shape` and `dropping`.

        Raises:
            NoLanes: A layer has no form for lanes.
        """
        graph = translate(model, shape, dropping)
        norms = {
            each.norm: LaneNorm(model.get_submodule(each.norm), each.height * each.width)
            for each in graph.maps
            if each.norm
        }
        return cls(graph, norms, lanes, batch)

    @property
    def bytes(self) -> int:
        """Memory of all arrays."""
        return self.arena.bytes

    def step(
        self, images: Sequence[Tensor], targets: Floats
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Gradients of one batch in every lane, into `gradients`; running statistics move.

        Args:
            images: For each lane (N, C, H, W) float32, contiguous.
            targets: (N, classes, lanes): the weight of each class.

        Returns:
            The loss of each lane, (lanes,), and the classes predicted, (N, lanes).
        """
        count = len(targets)
        for lane, batch in enumerate(images):
            assert batch.is_contiguous(), "lanes read a batch as it lies"
            assert batch.dtype is torch.float32, "lanes are of float32"
            self._addresses[lane] = batch.data_ptr()
        self._pack(0, count)
        for segment in self.segments:
            self._in_chunks(self._forward, segment, count)
            self._normalize(self.graph.operations[segment[-1]].out, count)
        self._share[:] = np.float32(1 / count)
        self._targets[:count] = targets
        self._loss(0, count)
        self.gradients[:] = 0
        for segment in reversed(self.segments):
            self._normalize_back(self.graph.operations[segment[-1]].out, count)
            self._in_chunks(self._backward, segment[::-1], count)
        where, total, product, weight = self._told[:count].transpose(1, 0, 2).astype(np.float64)
        # Python's logarithm: numpy's hangs on the processor, and maybe on a number's place.
        logs = np.array([math.log(v) for v in total.ravel().tolist()]).reshape(total.shape)
        with np.errstate(all="ignore"):
            losses = np.add.reduce(np.ascontiguousarray(logs * weight - product), axis=0) / count
        return losses, where.astype(np.int64)

    def _in_chunks(
        self, functions: list[Callable[[int, int], None]], segment: Sequence[int], count: int
    ) -> None:
        """Run operations without a norm between them, some images at a time.

        What one of them writes the next one finds in the caches.
        """
        chunk = count
        if len(segment) > 1:
            maps = [self.graph.operations[i].source.map for i in segment]
            chunk = max(1, _CHUNK // max(stored.size for stored in maps))
        starts = range(0, count, chunk)
        backwards = functions is self._backward
        for first in reversed(starts) if backwards else starts:
            for i in segment:
                functions[i](first, min(first + chunk, count))

    def _normalize(self, stored: Map, count: int) -> None:
        if stored.norm is None:
            return
        arrays = self._arrays[stored.number]
        coefs = self.norms[stored.norm].forward(
            arrays["sums"][:count], self._of_norm[stored.norm], self.buffers[stored.norm]
        )
        arrays["coefs"][: len(coefs)] = coefs

    def _normalize_back(self, stored: Map, count: int) -> None:
        if stored.norm is None:
            return
        arrays = self._arrays[stored.number]
        coefs, gradients = self.norms[stored.norm].backward(arrays["gsums"][:count])
        arrays["dcoefs"][: len(coefs)] = coefs
        for name, gradient in gradients.items():
            first, last = self.rows[f"{stored.norm}.{name}"]
            self.gradients[first:last] = gradient

    def _parameters_of(self, layer: str) -> dict[str, Floats]:
        """A norm's parameters by their short names, (C, lanes) each: views."""
        return {
            name.rpartition(".")[2]: self.parameters[first:last]
            for name, (first, last) in self.rows.items()
            if name.rpartition(".")[0] == layer
        }

    def _of_map(self, stored: Map) -> dict[str, npt.NDArray[Any]]:
        lanes, zeros = self.lanes, self.arena.zeros
        made: dict[str, npt.NDArray[Any]] = {}
        if stored.number not in self.slots.remade:
            made["y"] = zeros((self.batch, stored.size, lanes))
        if stored.number:
            buffer = self.slots.buffer[stored.number]
            made["g"] = self._gradient_buffer(buffer)
        if stored.norm:
            images = self.batch if self.slots.of_image(stored) else 1
            made["sums"] = zeros((self.batch, stored.channels, 3, lanes))
            made["gsums"] = zeros((self.batch, stored.channels, 2, lanes))
            made["coefs"] = zeros((images, stored.channels, 3, lanes))
            made["dcoefs"] = zeros((images, stored.channels, 3, lanes))
            if stored.number in self._raw:
                made["raw"] = zeros((self.batch, stored.size, lanes))
        if stored.mask:
            shape: tuple[int, ...] = {
                "element": (self.batch, stored.height, stored.channels, stored.width),
                "map": (self.batch, stored.channels),
                "image": (self.batch,),
            }[stored.mask.unit]
            made["bits"] = zeros(shape, np.uint16 if lanes == 16 else np.uint8)
            made["scale"] = zeros((1, lanes))
            self.bits[stored.mask.name] = made["bits"]
            self.scales[stored.mask.name] = made["scale"][0]
        return made

    def _gradient_buffer(self, number: int) -> npt.NDArray[Any]:
        if number not in self._buffers:
            shape = (self.batch, self.slots.strides[number], self.lanes)
            self._buffers[number] = self.arena.zeros(shape)
        return self._buffers[number]

    def _function(self, name: str, operation: Operation | None) -> Callable[[int, int], None]:
        from normlab.train.lanes.writer import ARGUMENTS

        address = self._compiled(name, operation)
        given: dict[str, npt.NDArray[Any]] = {"p": self.parameters, "d": self.gradients}
        given |= {f"scratch{i}": array for i, array in enumerate(self._scratch)}
        images, logits = self.graph.maps[0], self.graph.logits
        given["images"] = self._arrays[0]["y"]
        if name == "pack":
            roles = {"a": images}
            given["extra"] = self._addresses
        elif name == "loss":
            roles = {"a": logits}
            self._targets = self.arena.zeros((self.batch, logits.channels, self.lanes))
            given |= {"extra": self._targets, "d": self._told, "p": self._share}
        else:
            assert operation is not None
            roles = {role: read.map for role, read in zip("ab", reads(operation), strict=False)} | {
                "o": operation.out
            }
            if (beside := self._beside(operation)) is not None:
                roles["b"] = beside
        for role, stored in roles.items():
            given |= {
                f"{role}_{part}": array for part, array in self._arrays[stored.number].items()
            }
        numbers = np.zeros(len(ARGUMENTS), np.int64)
        for argument, array in given.items():
            numbers[ARGUMENTS.index(argument)] = array.ctypes.data
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        at = numbers.ctypes.data

        def run(first: int, last: int) -> None:
            numbers[0], numbers[1] = first, last
            call(at)

        return run

    def _beside(self, operation: Operation) -> Map | None:
        """What the operation before a convolution reads, if both are done image by image."""
        if not isinstance(operation, Conv):
            return None
        makers = [o for o in self.graph.operations if o.out == operation.source.map]
        if not makers or makers[0].out.norm or isinstance(makers[0], Conv):
            return None
        return makers[0].source.map

    def _compiled(self, name: str, operation: Operation | None) -> int:
        maps = self.graph.maps
        has_raw = operation is not None and operation.out.number in self._raw
        used = (
            [maps[0]]
            if name == "pack"
            else [self.graph.logits]
            if operation is None
            else [*(read.map for read in reads(operation)), operation.out]
        )
        strides = [self.slots.stride(stored) for stored in used]
        own = [self.slots.of_image(stored) for stored in used]
        beside = None if operation is None else self._beside(operation)
        if beside is not None:
            strides.append(self.slots.stride(beside))
        remade = [self.slots.remade.get(stored.number) for stored in used]
        key = (self.lanes, repr(operation or used), strides, own, has_raw, beside, remade)

        def make(symbol: str) -> str:
            from normlab.train.lanes import emit

            return emit.text(
                symbol,
                self.lanes,
                name,
                operation=operation,
                stored=used[0],
                slots=self.slots,
                has_raw=has_raw,
                beside=beside,
            )

        return compiled.function(f"lanes_{name}", key, _source(), make)


def _rows(graph: Graph) -> dict[str, tuple[int, int]]:
    rows, at = {}, 0
    for name, shape in graph.parameters:
        size = int(np.prod(shape))
        rows[name] = (at, at + size)
        at += size
    return rows


def _segments(graph: Graph) -> list[list[int]]:
    """Numbers of operations that can go image by image: a norm waits for the whole batch."""
    segments: list[list[int]] = [[]]
    for number, operation in enumerate(graph.operations):
        segments[-1].append(number)
        if operation.out.norm:
            segments.append([])
    return [segment for segment in segments if segment]


def _loss_rows() -> int:
    from normlab.train.lanes.pointwise import LOSS_ROWS

    return LOSS_ROWS


@cache
def _source() -> str:
    """A digest of the code that writes the functions."""
    here = Path(__file__).parent
    names = ("emit", "writer", "views", "convolution", "pointwise", "memory", "graph")
    emitter = Path(compiled.__file__).parent / "emitter.py"
    return compiled.digest_of(emitter, *(here / f"{name}.py" for name in names))
