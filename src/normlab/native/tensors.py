"""When a tensor can be handed to machine code by its address, and when torch must see the work."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad

PLAIN = frozenset((Tensor, torch.nn.Parameter))
"""Tensors with memory of their own; what a subclass holds is its own affair."""


def is_traced(x: Tensor) -> bool:
    """Whether somebody looks at operations one by one, and so must see torch's.

    torch.compile, torch.export, jit tracing, torch.func, forward-mode derivatives, a mode for
    operations (fake tensors, counting), or a subclass of Tensor.
    """
    return (
        torch.compiler.is_compiling()
        or type(x) not in PLAIN
        or peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )


def is_looked_at(dy: Tensor) -> bool:
    """Whether a backward is itself differentiated, watched, or done for a batch of gradients."""
    return torch.is_grad_enabled() or is_traced(dy) or not torch._C._has_storage(dy)
