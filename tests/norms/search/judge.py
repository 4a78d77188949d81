"""Run a case and say what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from normlab.norms.conformance.definitions import DEFINITIONS, Values
from tests.norms.search import build, expect, values
from tests.norms.search.cases import NO_FLOATS, Case

VERDICTS = {
    "right": "the values of the float64 formula",
    "refused": "an error that names what is wrong, where torch has one or none is needed",
    "wrong": "other values, or another shape, dtype, layout or state",
    "not refused": "numbers where an error is due",
    "no need": "an error where values are due",
    "nameless": "an error that does not say which argument is wrong, or one of Python's inside",
    "crashed": "the process ended",
}
GOOD = {"right", "refused"}

ERRORS = (ValueError, TypeError, RuntimeError)  # what torch raises; NotImplementedError is the last


@dataclass(frozen=True)
class Verdict:
    """One of `VERDICTS`, and what was seen."""

    name: str
    words: str = ""


OF_TORCH_S_OPERATIONS = {"evonorm_s0", "evonorm_b0", "filter_response", "none"}
"""Kinds without a backward of their own."""


def judge(case: Case) -> Verdict:
    """Build the case, run it, hold it against what it must come to."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(case.threads)
    try:
        _run_first(case)
        return _steps(case)
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


def _run_first(case: Case) -> None:
    """Another such layer under a mode or transform; whether it can do that is not asked here."""
    if not case.first:
        return
    from torch._subclasses.fake_tensor import FakeTensorMode

    plain = Case(kind=case.kind, options=case.options, channels=case.channels)
    made, size = build.layer(plain), (case.shape[0], case.channels, *case.shape[1:])
    x = torch.randn(size)
    named = dict(made.named_parameters())

    def loss(p: Values, z: Tensor) -> Tensor:
        y: Tensor = torch.func.functional_call(made, p, (z[None],))
        return y.sum()

    with contextlib.suppress(Exception):
        if case.first == "fake":
            with FakeTensorMode():
                build.make(case.kind, case.channels, **plain_options(case))(torch.empty(size))
        elif case.first == "meta_default":
            with torch.device("meta"):
                build.make(case.kind, case.channels, **plain_options(case))(torch.empty(size))
        elif case.first == "jvp":
            torch.func.jvp(made, (x,), (x,))
        elif case.first == "functionalize":
            torch.func.functionalize(made)(x)
        else:
            torch.func.vmap(torch.func.grad(loss), (None, 0))(named, x)


def plain_options(case: Case) -> dict[str, Any]:
    return {k: v for k, v in case.options.items() if k != "progress"}


def _steps(case: Case) -> Verdict:
    made, handles, canaries = build.layer(case), build.Handles(), list[Tensor]()
    odd = False
    sizes = [*case.warm, case.shape]
    for number, size in enumerate(sizes):
        last = number == len(sizes) - 1
        if last and case.warm:
            try:
                for name, value in case.changes.items():
                    set_to = build.activation(value) if name == "activation" else value
                    setattr(made, name, set_to)
            except (AttributeError, ValueError, TypeError) as error:
                return Verdict("refused", str(error))
        if not odd and (last or not case.late):
            odd = True
            try:
                handles, canaries = build.make_odd(made, case)
            except (AttributeError, ValueError, TypeError) as error:
                return Verdict("refused", str(error))
        part = case if last else replace(case, saved="", hook="", between="", dy="alike")
        call = Call(part, made, handles, canaries, size, number, odd, last and bool(case.warm))
        verdict = call.verdict()
        if verdict.name != "right":
            where = "" if last else f" (map {number + 1} of {len(sizes)})"
            return replace(verdict, words=verdict.words + where)
    return Verdict("right")


@dataclass
class Call:
    """One map through the layer."""

    case: Case
    made: nn.Module
    handles: build.Handles
    canaries: list[Tensor]
    size: tuple[int, int, int]
    number: int
    odd: bool
    changed: bool

    def verdict(self) -> Verdict:
        """Run it and compare."""
        case, made = self.case, self.made
        refusals = expect.Refusals(case, self.size, self.odd, self.changed)
        must, may = refusals.must, refusals.may
        self.seen: list[Tensor] = []
        self.x = self._map()
        given = self._dense(self.x)
        self.parameters, self.buffers = expect.state_of(made)
        self.options = expect.options_of(case, made, self.changed)
        self.leaves = dict(self.handles)
        self.fast = self._fast() if case.call == "functional" else {}
        self.corners = None
        if not must and given.numel() and not given.is_meta and case.layer_device == "cpu":
            try:
                self.corners = values.corners(self, given)
            except KeyError as missing:  # no values without it
                must.append(str(missing.args[0]))
            except IndexError:  # a mix of three with another number of weights
                must.append("mean_weight|var_weight")
        try:
            found = self._run()
        except Exception as error:
            return self._refusal(error, must, may)
        if any(bool((canary != build.CANARY).any()) for canary in self.canaries):
            return Verdict("wrong", "memory behind a tensor was written to")
        if must:
            return Verdict("not refused", f"an error that matches {' or '.join(must)} is due")
        wrong = self._wrong_form(found["output"])
        if wrong is None and case.device != "meta" and "in_place" not in case.between:
            now = self._dense(self.x)
            if not torch.equal(now.nan_to_num(7), given.nan_to_num(7)):
                wrong = "the map itself was changed"
        if wrong is None and case.device != "meta":
            wrong = values.wrong(self, given, found)
        return Verdict("wrong", wrong) if wrong else Verdict("right")

    def _map(self) -> Tensor:
        case = self.case
        with torch.inference_mode(case.grad == "inference_input"):
            x = build.images(case, self.size, 100 + self.number).to(case.device)
        wants = case.grad in {"backward", "create_graph"} and x.dtype.is_floating_point
        if wants and "input" not in case.frozen:
            x.requires_grad_()
        return x

    @staticmethod
    def _dense(x: Tensor) -> Tensor:
        dense = x.detach()
        if x.layout is not torch.strided:
            dense = dense.to_dense()
        dense = dense.as_subclass(Tensor)
        if x.is_meta:
            return dense
        return dense.clone() if dense.is_complex() else dense.double().clone()

    def _refusal(self, error: Exception, must: list[str], may: list[str]) -> Verdict:
        words = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        torchs = self.case.kind.startswith("torch_")
        if must or may:
            named = isinstance(error, ERRORS) and expect.matches([*must, *may], str(error))
            return Verdict("refused" if named or torchs else "nameless", words)
        return Verdict("no need", words)

    @contextlib.contextmanager
    def _around(self) -> Iterator[None]:
        """Hooks on saved tensors, and what torch makes tensors of."""
        case = self.case
        with contextlib.ExitStack() as stack:
            if case.saved:
                hooks = torch.autograd.graph.saved_tensors_hooks(
                    lambda t: t.detach().clone(memory_format=torch.preserve_format),
                    self._given_back,
                )
                stack.enter_context(hooks)
            if case.default == "meta":
                stack.enter_context(torch.device("meta"))
            elif case.default == "float64":
                torch.set_default_dtype(torch.float64)
            try:
                yield
            finally:
                torch.set_default_dtype(torch.float32)

    def _given_back(self, t: Tensor) -> Tensor:
        if t.dim() != 4 or t.is_meta:
            return t
        half = self.x.dtype in {torch.float16, torch.bfloat16}  # torch's operations do these maps
        if self.case.saved == "cropped" and (half or self.case.kind in OF_TORCH_S_OPERATIONS):
            return t.clone()  # torch's own backward of a product reads what fits by broadcasting
        if self.case.saved == "numpy":
            return (
                torch.from_numpy(t.numpy().copy()) if t.dtype is not torch.bfloat16 else t.clone()
            )
        made = {
            "copied": t.clone,
            "channels_last": lambda: t.contiguous(memory_format=torch.channels_last),
            "strided": lambda: build.lay(t, "strided"),
            "double": t.double,
            # What is no more in half, or only its rounding, would be torch's fault as well.
            "half": t.half if self.case.values == "normal" else t.float,
            "meta": lambda: t.to("meta"),
            # Of what the norm keeps alone: torch's activations read what fits by broadcasting.
            "cropped": lambda: t[:, :, :1].clone() if self._is_map(t) else t.clone(),
        }
        return made[self.case.saved]()

    def _is_map(self, t: Tensor) -> bool:
        x = self.x.detach()
        return x.shape == t.shape and torch.equal(
            t.double().nan_to_num(7), x.double().nan_to_num(7)
        )

    def _hooks(self) -> contextlib.ExitStack:
        """Hooks on the layer or its activation; what they see goes to `seen`."""
        hook, stack = self.case.hook, contextlib.ExitStack()
        module = self.made if hook.startswith("layer") else getattr(self.made, "activation", None)
        if not hook or module is None:
            return stack

        def after(_: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            self.seen.append(output.detach().clone())
            return 2 * output if hook.endswith("changed") else None

        def before(_: nn.Module, inputs: tuple[Tensor]) -> None:
            self.seen.append(inputs[0].detach().clone())

        if hook == "activation_before":
            handle = module.register_forward_pre_hook(before)
        else:
            handle = module.register_forward_hook(after)
        stack.callback(handle.remove)
        return stack

    def _run(self) -> dict[str, Any]:
        """Output, and gradients by name where there are any."""
        case, made = self.case, self.made
        modes = {
            "no_grad": torch.no_grad,
            "inference_input": torch.no_grad,
            "inference": torch.inference_mode,
        }
        leaves = self.leaves
        with self._around(), self._hooks(), modes.get(case.grad, torch.enable_grad)():
            if case.call == "functional":
                y = torch.func.functional_call(made, self.fast, (self.x,))
            else:
                y = made(self.x)
        found: dict[str, Any] = {"output": y}
        self.state_after = {
            n: None if b is None else b.detach().clone() for n, b in made._buffers.items()
        }
        if (
            case.grad not in {"backward", "create_graph"}
            or getattr(y, "shape", None) != self.x.shape
        ):
            return found
        for name, parameter in made.named_parameters(recurse=False):
            leaves.setdefault(name, (parameter, 1.0))
        wanted = {"input": (self.x, 1.0)} | leaves
        self.wanted = {n: (t, f) for n, (t, f) in wanted.items() if t.requires_grad}
        if not y.requires_grad:
            found["gradients"] = None
            return found
        found["output"] = y.detach().clone()
        self.dy = self._dy(y)
        self._between()
        tensors = [t for t, _ in self.wanted.values()]
        twice = case.grad == "create_graph"
        gradients = torch.autograd.grad(
            y, tensors, self.dy, create_graph=twice, retain_graph=True, allow_unused=True
        )
        found["gradients"] = dict(zip(self.wanted, gradients, strict=True))
        if twice:
            found["second"] = self._second(gradients, tensors)
        return found

    def _fast(self) -> dict[str, Tensor]:
        """Plain tensors for the layer's parameters, other numbers than theirs."""
        fast = {}
        for name, parameter in self.made.named_parameters(recurse=False):
            fast[name] = (parameter.detach() * 1.5).requires_grad_(parameter.requires_grad)
            self.leaves[name] = fast[name], 1.0
            if name in self.parameters:
                exact = fast[name].detach().double().flatten()
                self.parameters[name] = exact.requires_grad_()
        return fast

    def _second(
        self, gradients: tuple[Tensor | None, ...], tensors: list[Tensor]
    ) -> dict[str, Any]:
        total = values.second_total(gradients, self.case)
        if not isinstance(total, Tensor) or not total.requires_grad:
            return {}
        # Kept: a gain made once from another tensor has its graph in those of all maps.
        found = torch.autograd.grad(total, tensors, retain_graph=True, allow_unused=True)
        return dict(zip(self.wanted, found, strict=True))

    def _dy(self, y: Tensor) -> Tensor:
        """The gradient handed to backward, zero where rounding decides on a derivative."""
        case = self.case
        shape = y.shape
        if case.dy == "expanded":
            return torch.ones((), dtype=y.dtype, device=y.device).expand(shape)
        if case.dy == "zero":
            return torch._efficientzerotensor(shape, dtype=y.dtype, device=y.device)
        drawn = torch.randn(shape, generator=build.generator(case, 7), dtype=torch.float64)
        if self.corners is not None:
            drawn = drawn.masked_fill(self.corners, 0)
        dy = drawn.to(y.dtype)
        if case.dy == "double":
            return dy.double().to(y.device)
        if case.dy == "meta":
            return dy.to("meta")
        if case.dy in {"contiguous", "channels_last", "strided", "negated"}:
            return build.lay(dy.contiguous(), case.dy).to(y.device)
        held = torch.empty_like(y, requires_grad=False)
        return held.detach().copy_(dy)

    def _between(self) -> None:
        """What a user does to the layer between forward and backward."""
        made, what = self.made, self.case.between
        weight = made._parameters.get("weight")
        with (
            torch.no_grad(),
            contextlib.suppress(AttributeError, RuntimeError),
        ):  # an integer weight
            if what == "mode":
                made.train(not made.training)
            elif what == "moved":
                mode = made.training
                plain = replace(self.case, rank="map", layout="contiguous", values="normal")
                with contextlib.suppress(Exception):
                    made.train()(build.images(plain, (4, 5, 5), 55).to(self.case.device))
                made.train(mode)
            elif what == "replaced" and weight is not None:
                made.weight = nn.Parameter(3 * weight)
            elif what == "weight_in_place" and weight is not None:
                with contextlib.suppress(RuntimeError):  # of inference mode, or expanded
                    weight.mul_(2)
            elif what == "input_in_place" and "expanded" not in self.case.layout:
                with contextlib.suppress(RuntimeError):
                    self.x.mul_(2)
            elif what == "eps":
                made.eps = 0.3
            elif what == "activation" and hasattr(made, "activation"):
                made.activation = nn.SiLU()
            elif what == "buffers_in_place":
                for buffer in made._buffers.values():
                    if buffer is not None:
                        with contextlib.suppress(RuntimeError):
                            buffer.zero_()

    def _wrong_form(self, y: Any) -> str | None:
        x, torchs = self.x, self.case.kind.startswith("torch_")
        if not isinstance(y, Tensor):
            return f"the output is a {type(y).__name__}"
        if (y.shape, y.dtype, y.device) != (x.shape, x.dtype, x.device):
            if self.case.kind == "none" and self.case.dtype in NO_FLOATS:
                return None  # torch's activation decides
            return f"the output is {tuple(y.shape)}, {y.dtype}, on {y.device}"
        last = torch.channels_last
        kept = x.dim() == 4 and self.case.layout == "channels_last" and x.numel() and not torchs
        if kept and not y.is_contiguous(memory_format=last):
            return "the output is not channels_last as the map is"
        return None


def formula(
    call: Call, x: Tensor, parameters: Values, buffers: Values, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """The definition's output before and after the activation; x's dtype is that of the norm.

    With a dtype it is rounded to that in between, as every layer hands a half map on.
    """
    case = call.case
    bare = DEFINITIONS[case.kind].forward(x, parameters, call.options, buffers, case.training)
    bare = bare if dtype is None else bare.to(dtype)
    module = expect.behind(case, call.changed)
    y = bare if module is None else module(bare)
    changed = call.case.hook.endswith("changed") and (module is not None or "layer" in case.hook)
    return bare, 2 * y if changed else y
