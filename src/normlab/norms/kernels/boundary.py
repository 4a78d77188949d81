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
from typing import NamedTuple

import torch
from torch import Tensor

from normlab.native.tensors import PLAIN


class Assumed(NamedTuple):
    """What a loop assumes of a tensor that it is given.

    Attributes:
        name: As errors call it.
        shape: Its shape.
        dtype: Its dtype.
        written: Whether the loop writes into it, so that it cannot be a copy.
        form: How it lies; None for contiguous.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    written: bool = False
    form: torch.memory_format | None = None


Task = Callable[[int, int], None]


def call(
    task: Task,
    threads: int,
    numbers: tuple[int, ...],
    made: tuple[Tensor | None, ...],
    given: tuple[Tensor | None, ...],
    assumed: tuple[Assumed, ...],
) -> bool:
    """Run a task, if it can read all that is given; None is handed over as address 0.

    Args:
        task: A compiled task, called with the address of its arguments and a number of threads.
        threads: How many run it.
        numbers: The task's first arguments.
        made: Tensors that the caller has made for this call, as the task asks for them.
        given: All others.
        assumed: What the task assumes of each of these.

    Returns:
        Whether it ran; False leaves the work to the reference.

    Raises:
        ValueError: A tensor has another shape than the map's channels ask for.
        RuntimeError: A tensor is on another device.
    """
    values = [*numbers]
    values += [0 if tensor is None else tensor.data_ptr() for tensor in made]
    copies = []  # alive until the task is done
    # Written for speed: with small maps these lines are a third of what a norm costs.
    for tensor, wanted in zip(given, assumed, strict=True):
        if tensor is None:
            values.append(0)
            continue
        form = wanted[4]
        if (
            tensor.shape == wanted[1]
            and tensor.dtype is wanted[2]
            and tensor.is_cpu
            and type(tensor) in PLAIN
            and (
                tensor.is_contiguous() if form is None else tensor.is_contiguous(memory_format=form)
            )
            and not tensor.is_neg()
        ):
            address = tensor.data_ptr()
            if address:
                values.append(address)
                continue
        copy = _as_assumed(tensor, wanted)
        if copy is None:
            return False
        copies.append(copy)
        values.append(copy.data_ptr())
    arguments = array("q", values)  # alive until the task is done, as the copies are
    task(arguments.buffer_info()[0], threads)
    return True


def _as_assumed(tensor: Tensor, wanted: Assumed) -> Tensor | None:
    """A copy of a tensor that lies as a loop assumes; None if the reference must do the work.

    Raises:
        ValueError: It has another shape.
        RuntimeError: It is on another device.
    """
    name, shape, dtype, written, form = wanted
    form = form or torch.contiguous_format
    if not tensor.is_cpu:
        refuse_device(name, tensor, "cpu")
    if tensor.shape != shape:
        refuse_shape(name, tensor, shape)
    if tensor.dtype is not dtype or type(tensor) not in PLAIN or written:
        return None
    if not tensor.data_ptr():  # zeros without memory, as forward-mode derivatives have them
        return torch.zeros(shape, dtype=dtype, device="cpu").contiguous(memory_format=form)
    return tensor.detach().clone(memory_format=form)


def lies(x: Tensor) -> bool:
    """Whether a map is on the CPU and lies as loops can read it: contiguous or channels_last."""
    return (
        x.is_cpu
        and x.layout is torch.strided
        and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last))
        and not x.is_neg()
    )


def refuse_device(name: str, tensor: Tensor, device: torch.device | str) -> None:
    """Raise what torch raises where an operation's tensors are on two devices."""
    raise RuntimeError(
        f"expected all tensors on the same device: {name} is on {tensor.device}, "
        f"the map is on {device}"
    )


def check_device(name: str, tensor: Tensor, x: Tensor) -> None:
    """Raise where a tensor is on another device than the map."""
    if tensor.device != x.device:
        refuse_device(name, tensor, x.device)


def refuse_shape(name: str, tensor: Tensor, wanted: tuple[int, ...]) -> None:
    """Raise for a tensor with too many or too few values."""
    raise ValueError(f"{name} has shape {tuple(tensor.shape)}: {tuple(wanted)} is needed")


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
            refuse_shape(name, tensor, shape)
        if not tensor.is_floating_point():
            raise RuntimeError(
                f"{name} has dtype {tensor.dtype}: a real floating point dtype is needed"
            )
