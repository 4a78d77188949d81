"""Where trials were trained, compared: which differences can change the bits of a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DECIDING = {
    "device": "device",
    "chip": "chip",
    "threads": "threads",
    "backend": "kernels",
    "torch": "torch",
    "numba": "Numba",
    "training_code": "normlab code",
    "bits": "bits of a sample computation",
}
"""Fields of a trial's provenance that decide about the bits, with what they are called."""

TOGETHER = "together"
"""Field of a trial's provenance: how many trials trained side by side, itself included, in digits.
One that torch's path trained has none. It decides nothing about the bits; the trial's seconds and
its memory are its share of the group's."""

Place = Mapping[str, object]


def trained_together(places: Iterable[Place]) -> int:
    """The most trials that trained side by side with one, itself included, by its places."""
    found = (str(place.get(TOGETHER, "")) for place in places)
    return max((int(text) for text in found if text.isdecimal()), default=1)


def differing(one: Place, other: Place, *, known: bool = False) -> list[str]:
    """The deciding fields in which two places differ; none where their bits are equal.

    Args:
        one: A place as recorded.
        other: Another.
        known: Compare only what both tell: an older record tells less.
    """
    return [
        field
        for field in DECIDING
        if one.get(field) != other.get(field) and not (known and not {field} <= {*one} & {*other})
    ]


def difference_text(one: Place, other: Place, fields: Iterable[str]) -> str:
    """In words how two places differ: ``threads 1 against 2``."""
    fields = list(fields)
    # The sample's bits are a sign, and the other fields are the cause, where one is known.
    shown = [field for field in fields if field != "bits"] or fields
    return "; ".join(
        f"{DECIDING[field]} {one.get(field, 'unknown')} against {other.get(field, 'unknown')}"
        for field in shown
    )
