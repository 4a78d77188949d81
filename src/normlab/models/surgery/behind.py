"""The activation behind a norm: which kinds with their own take the place of.

Found in the graph of the model, which torch.fx traces on a copy, in training and in eval: all uses
of the norm's output are followed through whatever passes a map on (`character`) up to a layer with
weights, another norm, a sum of branches or the model's output. What cannot be traced is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx, nn

from normlab.errors import UserError
from normlab.models.surgery.finding import Found, held_elsewhere, places_of, refuse_held
from normlab.models.surgery.reading import Verdict, data_of, name_of, of_call, of_function
from normlab.models.surgery.replacing import channels_of
from normlab.models.surgery.tracing import Traced


@dataclass
class _Use:
    """How one path from a norm ends."""

    module: nn.Module | None = None
    """The activation module; None if another thing ends it."""
    node: fx.Node | None = None
    problem: str | None = None


@dataclass
class _Folded:
    """An activation that goes: the norm before it, the traced part of the model, its calls."""

    behind: Found
    part: str
    calls: set[fx.Node]

    @property
    def inside(self) -> str:
        """What the names of all modules of that part begin with."""
        return f"{self.part}." if self.part else ""


class Behind:
    """The activations of one model, looked for behind the norms that become `kind`.

    Args:
        model: The model, which is not run and stays as it is.
        kind: The kind's name, for messages.
    """

    def __init__(self, model: nn.Module, kind: str) -> None:
        self.model, self.kind = model, kind
        self._traced = Traced(model)
        self._folded: dict[nn.Module, _Folded] = {}

    def look(self, found: Found) -> list[nn.Module]:
        """The activation modules behind a norm, one on each path from it; none on none of them.

        Raises:
            UserError: There is one that cannot be taken out, or it cannot be told.
        """
        if found.module._forward_hooks:
            raise self._error(found, "forward hooks of this norm may change what follows")
        part = self._traced.part_with(found)
        if part is None:
            owner = type(found.places[0].parent).__name__
            raise self._error(found, f"what follows this norm cannot be seen in {owner}")
        uses = list(self._uses(part, found))
        if problem := next((use.problem for use in uses if use.problem), None):
            raise self._error(found, problem)
        if not uses:
            raise self._error(found, "this norm is not run by the model's forward as traced")
        modules = [use.module for use in uses if use.module is not None]
        if not modules:
            return []
        if len(modules) < len(uses):
            raise self._error(found, "its output is used with an activation and without one")
        for use in uses:
            if use.module is not None and use.node is not None:
                folded = self._folded.setdefault(use.module, _Folded(found, part, set()))
                folded.calls.add(use.node)
        return list(dict.fromkeys(modules))

    def taken(self) -> list[Found]:
        """All the activations found, with their places.

        Raises:
            UserError: One of them is used at other places as well.
        """
        every, held = [], held_elsewhere(self.model)
        for module, folded in self._folded.items():
            taken = places_of(self.model, module)
            calls = {
                node
                for graph in self._traced.graphs(folded.part)
                for node in graph.nodes
                if self._traced.called(node) is module
            }
            outside = [p for p in taken.places if not p.name.startswith(folded.inside)]
            if calls != folded.calls or outside:
                raise self._error(
                    folded.behind,
                    f"the {type(module).__name__} behind it ('{taken.name}') is used at other "
                    "places too, so it cannot be taken out",
                )
            refuse_held(taken, held)
            every.append(taken)
        return every

    def _uses(self, part: str, found: Found) -> Iterator[_Use]:
        channels = channels_of(found)
        for graph in self._traced.graphs(part):
            data = data_of(graph)
            for node in graph.nodes:
                if self._traced.called(node) is found.module:
                    for end, verdict in self._ends(node, data, channels, set()):
                        yield self._use(end, verdict, part)

    def _ends(
        self, node: fx.Node, data: set[fx.Node], channels: int, seen: set[fx.Node]
    ) -> Iterator[tuple[fx.Node, Verdict]]:
        """Where the paths of a node's output end, and how."""
        for user in node.users:
            if user in seen:
                continue
            seen.add(user)
            if user.op == "output":
                yield user, "ends"
                continue
            verdict = self._verdict(user, node, data, channels)
            if verdict in {"passes", "joins"}:
                for end, last in self._ends(user, data, channels, seen):
                    # What acts on other maps as well cannot be taken out for the sake of this one.
                    yield end, "bends" if (verdict, last) == ("joins", "rectifier") else last
            elif verdict != "nothing":
                yield user, verdict

    def _verdict(self, user: fx.Node, node: fx.Node, data: set[fx.Node], channels: int) -> Verdict:
        others = [n for n in user.all_input_nodes if n is not node and n in data]
        called = self._traced.called(user)
        if called is None:
            return of_function(user, node, others, channels)
        return of_call(called, others, channels) if self._traced.is_known(called) else None

    def _use(self, end: fx.Node, verdict: Verdict, part: str) -> _Use:
        module = self._traced.called(end)
        if end.op == "output" and part:
            return _Use(problem=f"what uses the output of '{part}' cannot be seen")
        if verdict == "ends":
            return _Use()
        if verdict == "rectifier" and module is not None:
            return _Use(module, end)
        if module is not None:
            what = f"'{places_of(self.model, module).name}' ({type(module).__name__})"
        else:
            stack = list((end.meta.get("nn_module_stack") or {}).values())
            owner = stack[-1][1] if stack else type(self.model)
            what = f"{name_of(end)}() in the forward of {getattr(owner, '__name__', owner)}"
        if verdict is None:
            return _Use(problem=f"it cannot be told what {what} makes of the output")
        return _Use(problem=f"{what} follows, which cannot be taken out")

    def _error(self, found: Found, problem: str) -> UserError:
        return UserError(
            f"{found.name}: norm '{self.kind}' contains its activation, and {problem}: an "
            "activation there would be a second one. Put norm and activation into an "
            "nn.Sequential, each activation a module of its own, or choose another kind."
        )
