"""Several trials of one shape side by side, one in each lane of a core's vector instructions.

The rule is at hand without llvmlite; what trains is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from normlab.train.lanes.gain import gain
from normlab.train.lanes.rule import Form, form, size

if TYPE_CHECKING:
    from normlab.train.lanes.group import GroupTrial, train_group


def __getattr__(name: str) -> Any:
    if name not in {"GroupTrial", "train_group"}:
        raise AttributeError(name)
    from normlab.train.lanes import group

    return getattr(group, name)


__all__ = ["Form", "GroupTrial", "form", "gain", "size", "train_group"]
