"""What a swap did to one norm."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Change:
    """One norm replaced.

    Attributes:
        name: Its dotted path in the model; further paths of the same module after a comma.
        old: The layer that was there, as printed.
        new: The layer that is there now.
        fitting: What was changed to fit: a number of groups, a removed activation.
        state: What was kept and what was lost.
    """

    name: str
    old: str
    new: str
    fitting: list[str] = field(default_factory=list)
    state: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """Everything there is to report."""
        return [*self.fitting, *self.state]
