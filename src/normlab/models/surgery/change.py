"""What a swap did to one norm."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Change:
    """One norm replaced.

    Attributes:
        name: Its place in the model, dotted; further places of the same module after a comma.
        old: The layer that stood there, as printed.
        new: The layer that stands there now.
        fitting: What was changed to fit: a number of groups, an activation taken out.
        state: What was kept and what was lost.
    """

    name: str
    old: str
    new: str
    fitting: list[str] = field(default_factory=list)
    state: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """All there is to say."""
        return [*self.fitting, *self.state]
