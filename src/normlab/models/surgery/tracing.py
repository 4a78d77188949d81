"""The graph of a model, or of the largest parts of it that can be traced."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from torch import fx, nn

from normlab.models.surgery.finding import MAP_NORMS, Found
from normlab.models.surgery.stand_in import stand_in, undisturbed
from normlab.regularizers import RandomLayer

_KNOWN = (*MAP_NORMS, RandomLayer)


class _Tracer(fx.Tracer):
    """Norms, layers that drop, torch's layers and the given modules stay whole."""

    def __init__(self, whole: set[nn.Module]) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_torch_s = super().is_leaf_module(m, module_qualified_name)
        return is_torch_s or m in self.whole or isinstance(m, _KNOWN)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        before = len(self.graph.nodes)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # a forward that looks at values: it stays whole, and unknown
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


class Traced:
    """The graphs of one model, traced on a copy: the model is not run and stays as it is.

    Each part is traced in training and in eval, where its forward may differ.
    """

    def __init__(self, model: nn.Module) -> None:
        self._graphs: dict[str, list[fx.Graph]] = {}
        self._copy: nn.Module | None = None
        self._originals: dict[nn.Module, nn.Module] = {}
        self._whole: set[nn.Module] = set()
        try:
            self._copy = stand_in(model)
        except Exception:  # a model that holds what cannot be copied
            return
        self._originals = {
            copied: model.get_submodule(path) for path, copied in self._copy.named_modules()
        }
        # A user's activation, say. A forward that looks at values cannot be known by running it.
        self._whole = {m for m in self._originals if _is_bare(m) and _graph(m, set()) is not None}

    def part_with(self, found: Found) -> str | None:
        """Path of the largest part of the model that has the norm and can be traced."""
        parts = found.places[0].name.split(".")[:-1]
        for path in (".".join(parts[:depth]) for depth in range(len(parts) + 1)):
            if path and not all(place.name.startswith(f"{path}.") for place in found.places):
                return None
            if self.graphs(path):
                return path
        return None

    def graphs(self, path: str) -> list[fx.Graph]:
        """Of the part at this path; none if it cannot be traced."""
        if path not in self._graphs:
            self._graphs[path] = self._trace(path)
        return self._graphs[path]

    def called(self, node: fx.Node) -> nn.Module | None:
        """The model's module that a node calls, if it calls one."""
        module = node.meta.get("called")
        return None if module is None else self._originals[module]

    def is_known(self, module: nn.Module) -> bool:
        """Whether a module that was left whole is one of torch's, a norm or traced by itself."""
        if type(module).__module__.startswith("torch.") or isinstance(module, _KNOWN):
            return True
        return any(self._originals[copied] is module for copied in self._whole)

    def _trace(self, path: str) -> list[fx.Graph]:
        if self._copy is None:
            return []
        root = self._copy.get_submodule(path)
        graphs = []
        for mode in (True, False):
            if (graph := _graph(root.train(mode), self._whole)) is None:
                return []
            graphs.append(graph)
        for graph in graphs:
            for node in graph.nodes:
                if node.op == "call_module":
                    node.meta["called"] = root.get_submodule(str(node.target))
        return graphs


def _graph(root: nn.Module, whole: set[nn.Module]) -> fx.Graph | None:
    try:
        with undisturbed(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Tracer(whole).trace(root, _defaults(root))
    except Exception:  # a forward that looks at values, say
        return None


def _defaults(root: nn.Module) -> dict[str, object]:
    """Arguments that a caller may leave out keep their defaults: a flag is no map."""
    given = inspect.signature(root.forward).parameters.values()
    return {p.name: p.default for p in given if p.default is not p.empty}


def _is_bare(module: nn.Module) -> bool:
    return not module._modules and not module._parameters and not module._buffers
