"""What a case must come to: the refusals that are due, and the values in float64."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor, nn

from normlab.norms.conformance.definitions import DEFINITIONS, Options, Values
from tests.norms.search import build
from tests.norms.search.cases import NO_FLOATS, WRONG_SIZES, Case

Words = list[str]  # patterns; an error must match one of them

_NAMES = {"weight": "weight|gain", "bias": "bias"}
_DTYPES = "dtype|float|half|Half|Float|uint8|Byte|int64|Long|bool|Bool|complex|Complex"


class Refusals:
    """Patterns of the errors that must come, and of those that may.

    Args:
        case: The case.
        size: N, H and W of the map.
        odd: Whether what is odd about the state has been done.
        changed: Whether the layer's options have been changed.
    """

    def __init__(
        self, case: Case, size: tuple[int, int, int], odd: bool, changed: bool = False
    ) -> None:
        self.must: Words = []
        self.may: Words = []
        self.full = size[0] * size[1] * size[2] > 0
        if case.kind == "none":  # torch's activation alone: its errors are torch's
            self.may.append("")
            return
        self._of_map(replace(case, options=_options(case, changed)), size)
        if self._is_elsewhere(case, odd):
            self.due("device|meta")
        if odd:
            for name, what in case.state.items():
                self._of_state(case, name, what)
        self._of_backward(case)

    def due(self, words: str) -> None:
        """It must come, but for an empty map, of which nothing is read."""
        (self.must if self.full else self.may).append(words)

    def _of_map(self, case: Case, size: tuple[int, int, int]) -> None:
        if case.rank != "map":
            self.must.append(r"\(N, |dim|shape|channel|[Ii]nput|map")
        if case.dtype in NO_FLOATS:
            self.due(_DTYPES)
        if case.layout in {"sparse", "mkldnn"}:
            self.may.append("layout|[Ss]parse|[Mm]kldnn|strided")
        if case.layer_dtype and case.layer_dtype not in {case.dtype, "float32"}:
            self.may.append(_DTYPES)
        if self.full and too_small(case, size[0], size[1] * size[2]):
            self.must.append("more than|at least|value|spatial")

    @staticmethod
    def _is_elsewhere(case: Case, odd: bool) -> bool:
        """Whether a parameter or statistic is on another device than the map."""
        definition, state = DEFINITIONS[case.kind], case.state if odd else {}
        names = (_parameters(case) | set(definition.buffers)) - {"num_batches_tracked"}
        devices = {
            "meta" if state.get(name) == "meta" else case.layer_device
            for name in names
            if state.get(name) != "none"
        }
        return not devices <= {case.device}

    def _of_state(self, case: Case, name: str, what: str) -> None:
        words = _NAMES.get(name, name)
        elsewhere = what == "meta" and case.device != "meta" and name != "num_batches_tracked"
        if what in {*WRONG_SIZES, "complex"} or elsewhere:
            self.due(words)
        else:
            self.may.append(words)

    def _of_backward(self, case: Case) -> None:
        if case.saved not in {"", "copied"}:
            self.may.append("saved|device|meta|dtype|shape|size|float")
        if case.dy == "meta" and case.device != "meta":
            left = {name for name in _parameters(case) if case.state.get(name) != "none"}
            wanted = {"input", *left} - set(case.frozen)
            if case.grad in {"backward", "create_graph"} and wanted:
                self.due("device|meta")
            self.may.append("device|meta")
        if "in_place" in case.between or case.between in {"moved", "mode"}:
            self.may.append("modified by an inplace operation")
        if case.activation == "in_place":
            self.may.append("modified by an inplace operation")
        if case.grad == "inference_input" or (case.grad == "inference" and case.warm):
            self.may.append("[Ii]nference tensor")


def _parameters(case: Case) -> set[str]:
    """Names of the parameters that a layer with these options has."""
    names = {
        name
        for name, start in DEFINITIONS[case.kind].parameters.items()
        if start != "if asked" or case.options.get(name)
    }
    return names if case.options.get("affine", True) else names - {"weight", "bias"}


def too_small(case: Case, images: int, pixels: int) -> bool:
    """Whether the kind must refuse a batch for its size."""
    kind = case.kind.removeprefix("torch_")
    if kind in {"group", "layer"}:
        groups = _groups(case) if kind == "group" else 1
        return images * pixels * (case.channels // groups) == 1
    if kind == "instance":
        return pixels == 1
    return case.training and DEFINITIONS[kind].refuses(images, pixels)


def _groups(case: Case) -> int:
    options = case.options
    return int(options.get("groups") or case.channels // options["channels_per_group"])


def _options(case: Case, changed: bool) -> Options:
    """Options as they stand after a change of the layer's attributes."""
    options = dict(case.options)
    if changed:
        options |= {k: v for k, v in case.changes.items() if k != "activation"}
        if "groups" in case.changes:
            options.pop("channels_per_group", None)
    return options


def matches(words: Words, text: str) -> bool:
    return any(re.search(word, text) for word in words)


def state_of(made: nn.Module) -> tuple[Values, Values]:
    """Parameters and buffers as they are, in float64; what is None is left out."""
    names = names_of_state(made)
    parameters, buffers = {}, {}
    for name in names:
        tensor = getattr(made, name, None)
        if tensor is None or tensor.is_meta:
            continue
        copied = tensor.detach().clone()
        if name in made._buffers:
            buffers[name] = copied.double() if copied.is_floating_point() else copied
        else:
            parameters[name] = copied.double().flatten().requires_grad_()
    return parameters, buffers


def names_of_state(made: nn.Module) -> set[str]:
    """Names of all parameters and buffers of a layer, odd ones too."""
    plain = {name for name, _ in made.named_parameters(recurse=False)}
    plain |= {name for name, _ in made.named_buffers(recurse=False)}
    parametrized = set(getattr(made, "parametrizations", {}).keys())
    known = {"weight", "bias", "rho", "tau", "v", "learned_eps", "mean_weight", "var_weight"}
    return plain | parametrized | {name for name in known if hasattr(made, name)}


def options_of(case: Case, made: nn.Module, changed: bool) -> Options:
    """Options as the definition reads them."""
    options: Options = {"eps": DEFINITIONS[case.kind].eps, **_options(case, changed)}
    if options.get("momentum", 0.1) is None:
        counter = getattr(made, "num_batches_tracked", None)
        known = counter is not None and not counter.is_meta
        options["momentum"] = 1 / (int(counter) + 1) if known else 0.0
    return options


def behind(case: Case, changed: bool) -> nn.Module | None:
    """The activation of the expected layer."""
    name = case.changes.get("activation", case.activation) if changed else case.activation
    return build.activation("relu" if name == "in_place" else name)


def ties(case: Case, x: Tensor, y: Tensor, known: tuple[Values, Options, Values]) -> Tensor:
    """Where y is so near to a corner of its activation that rounding decides on the derivative."""
    p, o, s = known
    near = {"bfloat16": 1e-2, "float16": 2e-3}.get(case.dtype, 1e-5)
    if case.saved == "half":  # the backward makes the mask from a map in half
        near = max(near, 2e-2)
    near *= 100 if case.values == "offset" else 1
    kind = case.kind
    with torch.no_grad():
        if kind == "filter_response":
            low = {**p, "tau": torch.full_like(p["tau"], float("-inf"))}
            bare = DEFINITIONS[kind].forward(x, low, o, s, case.training)
            return (bare - p["tau"].view(1, -1, 1, 1)).abs() < near
        if kind == "evonorm_b0":
            var = x.var((0, 2, 3), correction=0) if case.training else s["running_var"]
            batch = torch.sqrt(var.view(1, -1, 1, 1) + o["eps"])
            own = torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + o["eps"])
            return (batch - p["v"].view(1, -1, 1, 1) * x - own).abs() < near
        corners = (y.abs() < near) | ((y - 0.5).abs() < near)
        return corners if not DEFINITIONS[kind].contains_activation else torch.zeros_like(corners)


def advanced(case: Case, x: Tensor, options: Options, before: Values) -> Values:
    """Buffers after the call."""
    advance = DEFINITIONS[case.kind].advance
    if advance is None or not case.training:
        return before
    return advance(x, options, before)
