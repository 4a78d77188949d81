"""The one way into a compiled loop: `call` looks at every tensor before it hands over an address.

A loop reads memory by address, so what it assumes must hold: the device, the dtype, the number of
values, how they lie. `call` knows these per argument and decides from them alone:

- as assumed: the loop runs;
- a map or an array to be read that lies otherwise: it is copied;
- another dtype, a subclass of Tensor, or statistics to be written that lie otherwise: the reference
  does the work (`call` returns False);
- another number of values, another device: an error with the argument's name, as torch raises.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad

PLAIN = (Tensor, torch.nn.Parameter)
"""Tensors with memory of their own; what a subclass holds is its own affair."""


Argument = tuple[str, Tensor | None, tuple[int, ...] | None, torch.dtype | None, bool]
"""A tensor for a loop, and what the loop assumes of it.

Its name in errors; the tensor (None is handed over as address 0); its shape, None for a map that
lies as the call's first; its dtype, None for the maps'; whether the loop writes into it, so that it
cannot be a copy.
"""

LAST = torch.channels_last
Task = Callable[[int, int], None]


def call(task: Task, threads: int, x: Tensor, given: Iterable[int | Tensor | Argument]) -> bool:
    """Run a task on maps that lie as x does, if it can read all that is given.

    Args:
        task: A compiled task, called with the address of its arguments and a number of threads.
        threads: How many run it.
        x: A map, shape (N, C, H, W), that lies contiguous or channels_last: see `lies`.
        given: The task's arguments in order: numbers; tensors that the caller has made for this
            call, as the task asks for them; and all others, each with what is assumed.

    Returns:
        Whether it ran; False leaves the work to the reference.

    Raises:
        ValueError: A tensor has another number of values than the channels ask for.
        RuntimeError: A tensor is on another device.
    """
    dtype, nhwc = x.dtype, not x.is_contiguous()
    values: list[int] = []
    copies = []  # alive until the task is done
    for argument in given:
        if not isinstance(argument, tuple):
            values.append(argument.data_ptr() if isinstance(argument, Tensor) else argument)
            continue
        name, tensor, shape, wanted, written = argument
        if tensor is None:
            values.append(0)
            continue
        if not tensor.is_cpu:
            refuse_device(name, tensor, x)
        if tensor.shape != (x.shape if shape is None else shape):
            refuse_shape(name, tensor, x, shape)
        if tensor.dtype is not (wanted or dtype) or type(tensor) not in PLAIN:
            return False
        last = nhwc and shape is None
        lies_so = tensor.is_contiguous(memory_format=LAST) if last else tensor.is_contiguous()
        if not lies_so or tensor.is_neg():
            if written:
                return False
            form = LAST if last else torch.contiguous_format
            tensor = tensor.detach().clone(memory_format=form)
            copies.append(tensor)
        address = tensor.data_ptr()
        if not address:  # zeros without memory, as forward-mode derivatives have them
            copies.append(torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device))
            address = copies[-1].data_ptr()
        values.append(address)
    numbers = array("q", values)
    task(numbers.buffer_info()[0], threads)
    return True


def lies(x: Tensor) -> bool:
    """Whether a map is on the CPU and lies as loops can read it: contiguous or channels_last."""
    return (
        x.is_cpu
        and x.layout is torch.strided
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
        and not x.is_neg()
    )


def refuse_device(name: str, tensor: Tensor, x: Tensor) -> None:
    """Raise what torch raises where an operation's tensors are on two devices."""
    raise RuntimeError(
        f"expected all tensors on the same device: {name} is on {tensor.device}, "
        f"the map is on {x.device}"
    )


def check_device(name: str, tensor: Tensor, x: Tensor) -> None:
    """Raise where a tensor is on another device than the map."""
    if tensor.device != x.device:
        refuse_device(name, tensor, x)


def refuse_shape(name: str, tensor: Tensor, x: Tensor, shape: tuple[int, ...] | None) -> None:
    """Raise for a tensor with too many or too few values."""
    wanted = tuple(x.shape) if shape is None else shape
    raise ValueError(
        f"{name} has shape {tuple(tensor.shape)}: maps of shape {tuple(x.shape)} need {wanted}"
    )


def check_numbers(layer: str, x: Tensor) -> None:
    """Raise RuntimeError, as torch does, for maps that are not dense or not real floating point."""
    if not x.is_floating_point():
        raise RuntimeError(
            f"{layer} is not implemented for maps of dtype {x.dtype}: a floating point dtype is "
            "needed, for instance x.float()"
        )
    if x.layout is not torch.strided:
        raise RuntimeError(
            f"{layer} is not implemented for maps of layout {x.layout}: give x.to_dense()"
        )


def check_state(x: Tensor, state: Iterable[tuple[str, Tensor | None, tuple[int, ...]]]) -> None:
    """Raise for parameters and statistics that do not fit a map, before any of them is used.

    Args:
        x: The map.
        state: Name, tensor and shape of each.

    Raises:
        ValueError: One is missing or has another shape.
        RuntimeError: One is on another device, or not of real floating point numbers.
    """
    for name, tensor, shape in state:
        if tensor is None:
            raise ValueError(f"{name} is None: a tensor of shape {shape} is needed")
        check_device(name, tensor, x)
        if tensor.shape != shape:
            refuse_shape(name, tensor, x, shape)
        if not tensor.is_floating_point():
            raise RuntimeError(
                f"{name} has dtype {tensor.dtype}: a real floating point dtype is needed"
            )


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
