"""Libraries that only some work needs, imported at their first use.

A study file is read where nothing but torch, numpy and pydantic are installed: the classes of its
claims and figures are known there, and their arithmetic and drawings are not asked for.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair
    import pandas
    from scipy import special
else:

    class _Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            return getattr(import_module(self.__name__), name)

    altair, pandas, special = map(_Lazy, ("altair", "pandas", "scipy.special"))

__all__ = ["altair", "pandas", "special"]
