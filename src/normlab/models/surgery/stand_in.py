"""A copy of a model to run in its stead: what the run does to it is no matter.

Parameters are shared, so that it costs little and keeps meta tensors; buffers and Python state are
its own. The user's hooks are left out; torch's own, which make weights before a forward, stay.
"""

from __future__ import annotations

import copy
import random
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def stand_in(model: nn.Module) -> nn.Module:
    """The copy, in the mode each of its modules is in."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in (*module._parameters.values(), *vars(module).values()):
            if isinstance(value, Tensor):
                memo[id(value)] = value
        for name, table in vars(module).items():
            if name.endswith("_hooks") and isinstance(table, dict):
                memo[id(table)] = OrderedDict((k, h) for k, h in table.items() if _is_torch_s(h))
    return copy.deepcopy(model, memo)


@contextmanager
def undisturbed(model: nn.Module | None = None) -> Iterator[None]:
    """Put the global random states back at the end: torch's (of the model's GPUs too) and more."""
    tensors = () if model is None else (*model.parameters(), *model.buffers())
    gpus = sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _is_torch_s(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.")
