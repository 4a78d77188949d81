"""A warning where a plan's bfloat16 arms train on a processor that has no fast path for it."""

from __future__ import annotations

import torch

from normlab.study.engines.provenance import chip_name, instructions
from normlab.study.plan import Plan
from normlab.train.fast_path import bfloat16_speed
from normlab.wording import counted


def slow_bfloat16(plan: Plan, device: str, threads: int, *, measure: bool = True) -> str | None:
    """The warning in one sentence; None where bfloat16 is fast, or no arm trains in it.

    Nothing is replaced: those arms train in bfloat16 all the same.

    Args:
        plan: What is going to be trained.
        device: "cpu" or "cuda".
        threads: CPU threads of a trial.
        measure: Whether a few milliseconds may be taken to measure it, where nothing is kept.
    """
    arms = sum(arm.recipe.precision == "bfloat16" for arm in plan.arms)
    if not arms:
        return None
    chip = chip_name(device)
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return None
        what = f"on {chip}: its units do not compute in it"
    else:
        speed = bfloat16_speed(f"{chip}; {instructions()}", threads, measure=measure)
        if speed is None or speed.is_fast:
            return None
        what = (
            f"on {chip} with {counted(threads, 'thread')}: a matrix product runs at "
            f"{speed.product:.2g} times and a convolution at {speed.convolution:.2g} times the "
            "speed of float32"
        )
    of, verb = counted(len(plan.arms), "arm"), "trains" if arms == 1 else "train"
    return (
        f"bfloat16 has no fast path {what}. {arms} of {of} {verb} in bfloat16 all the same; use "
        "precision: float32 here, or a processor with AVX-512 BF16 or AMX, or a newer GPU"
    )
