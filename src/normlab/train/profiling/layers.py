"""The time of every layer, forward and backward, by its kind.

Forward the clock is read around each layer. Backward it is read around those nodes of autograd's
graph that the layer's forward pass made. The hooks are on this model and on this step's graph
alone; a norm is timed with the activation in it, which it may compute in one pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules import pooling
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from normlab.norms import is_norm
from normlab.norms.scaled_ws import ScaledActivation
from normlab.regularizers import RandomLayer
from normlab.train.profiling.floor import Work, backward_work, forward_work

KINDS = (
    "convolutions",
    "norms",
    "activations",
    "pooling",
    "dropout",
    "linear layers",
    "other layers",
)
"""Kinds of layers, in the order in which they are shown."""

_CLASSES: dict[str, tuple[type[nn.Module], ...]] = {
    "convolutions": (_ConvNd,),
    "activations": (nn.ReLU, nn.LeakyReLU, nn.SiLU, nn.GELU, ScaledActivation),
    "pooling": (
        pooling._MaxPoolNd,
        pooling._AvgPoolNd,
        pooling._AdaptiveAvgPoolNd,
        pooling._AdaptiveMaxPoolNd,
    ),
    "dropout": (RandomLayer, _DropoutNd),
    "linear layers": (nn.Linear,),
}


class Key(NamedTuple):
    """What is timed together: `forward` or `backward`, and the kind of layer."""

    part: str
    kind: str


class Cost(NamedTuple):
    """Seconds and calls of one step."""

    seconds: float = 0.0
    calls: int = 0


def layers_of(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The layers that are timed as one, each with its kind."""
    kind = _kind(model)
    if kind is None and next(model.children(), None) is not None:
        for child in model.children():
            yield from layers_of(child)
    else:
        yield model, kind or "other layers"


def _kind(layer: nn.Module) -> str | None:
    if is_norm(layer):
        return "norms"
    return next((kind for kind, classes in _CLASSES.items() if isinstance(layer, classes)), None)


class LayerClock:
    """Times the layers of a model while `on`; `close` takes its hooks away.

    Attributes:
        on: Whether a forward pass that is run now is timed: not where evaluation runs, and not
            where a model runs a part of its forward pass again amid backward.
        work: What the layers of the first step had to do.
    """

    def __init__(self, model: nn.Module, clock: Callable[[], float]) -> None:
        self.on = False
        self.work: dict[Key, list[Work]] = defaultdict(list)
        self._clock = clock
        self._costs: dict[Key, Cost] = defaultdict(Cost)
        self._weighed = False
        self._owned: set[Any] = set()
        self._handles = []
        for layer, kind in {id(m): (m, kind) for m, kind in layers_of(model)}.values():
            timed = _Layer(self, layer, kind)
            self._handles += [
                layer.register_forward_pre_hook(timed.enter, with_kwargs=True),
                layer.register_forward_hook(timed.leave, with_kwargs=True),
            ]

    def end_step(self) -> Mapping[Key, Cost]:
        """What the step took, by part and kind; the next one begins."""
        found, self._costs = self._costs, defaultdict(Cost)
        self._owned.clear()
        self._weighed = self._weighed or bool(found)
        return found

    def close(self) -> None:
        """Take every hook away."""
        for handle in self._handles:
            handle.remove()
        self._owned.clear()

    def now(self) -> float:
        """Seconds; on a GPU when all work that was asked for is done."""
        return self._clock()

    def add(self, part: str, kind: str, seconds: float, calls: int) -> None:
        """Enter some time."""
        before = self._costs[Key(part, kind)]
        self._costs[Key(part, kind)] = Cost(before.seconds + seconds, before.calls + calls)

    def weigh(self, part: str, kind: str, work: Callable[[], Work]) -> None:
        """Enter what there was to do, in the first step."""
        if not self._weighed:
            self.work[Key(part, kind)].append(work())

    def follow(self, results: list[Tensor], border: set[Any], kind: str) -> None:
        """Time the nodes of the graph between a layer's results and its inputs."""
        left = [result.grad_fn for result in results]
        while left:
            node: Any = left.pop()
            if node is None or node in border or node in self._owned:
                continue
            if hasattr(node, "variable"):  # where a parameter takes its gradient
                continue
            self._owned.add(node)
            timed = _Node(self, kind)
            node.register_prehook(timed.enter)
            node.register_hook(timed.leave)
            left += [following for following, _ in node.next_functions]


class _Entered(NamedTuple):
    inputs: list[Tensor]
    border: set[Any]
    reaches_input: bool
    seconds: float


class _Layer:
    """The hooks of one layer."""

    def __init__(self, clock: LayerClock, layer: nn.Module, kind: str) -> None:
        self.clock, self.layer, self.kind = clock, layer, kind
        self.entered: list[_Entered] = []

    def enter(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not self.clock.on:
            return
        inputs = list(_tensors((given, named)))
        # Now: an operation in place gives its input another node.
        border = {x.grad_fn for x in inputs if x.grad_fn is not None}
        reaches = any(x.requires_grad for x in inputs)
        self.entered.append(_Entered(inputs, border, reaches, self.clock.now()))

    def leave(
        self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any], result: object
    ) -> None:
        if not self.entered:
            return
        now = self.clock.now()
        inputs, border, reaches, before = self.entered.pop()
        results = list(_tensors(result))
        self.clock.add("forward", self.kind, now - before, 1)
        self.clock.weigh("forward", self.kind, lambda: forward_work(self.layer, inputs, results))
        if any(y.grad_fn is not None and y.grad_fn not in border for y in results):
            self.clock.add("backward", self.kind, 0.0, 1)
            self.clock.weigh(
                "backward",
                self.kind,
                lambda: backward_work(self.layer, inputs, results, reaches_input=reaches),
            )
            self.clock.follow(results, border, self.kind)


class _Node:
    """The hooks of one node of autograd's graph."""

    def __init__(self, clock: LayerClock, kind: str) -> None:
        self.clock, self.kind, self.before = clock, kind, 0.0

    def enter(self, *_: object) -> None:
        self.before = self.clock.now()

    def leave(self, *_: object) -> None:
        self.clock.add("backward", self.kind, self.clock.now() - self.before, 0)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)
