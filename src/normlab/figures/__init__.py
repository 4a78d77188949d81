"""Figures: what a report can draw. A kind is one class in one file here; `FIGURES` is the catalog.

What draws them on a page is in `normlab.figures.drawing`.
"""

from normlab.figures.activations import Activations
from normlab.figures.agc import Agc
from normlab.figures.bars import Bars
from normlab.figures.collapses import Collapses
from normlab.figures.confusion import Confusion
from normlab.figures.curves import Curves
from normlab.figures.disagreement import Disagreement
from normlab.figures.dots import Dots
from normlab.figures.effects import Effects
from normlab.figures.factor import Factor
from normlab.figures.figure import Drawn, Figure, NotDrawnError, Source
from normlab.figures.gates import Gates
from normlab.figures.gradients import Gradients
from normlab.figures.interaction import Interaction
from normlab.figures.misclassified import Misclassified
from normlab.figures.sparsity import Sparsity
from normlab.figures.specification_curve import SpecificationCurve
from normlab.figures.survival import Survival

FIGURES: dict[str, type[Figure]] = {
    "factor": Factor,
    "interaction": Interaction,
    "dots": Dots,
    "bars": Bars,
    "collapses": Collapses,
    "curves": Curves,
    "survival": Survival,
    "effects": Effects,
    "specification_curve": SpecificationCurve,
    "confusion": Confusion,
    "misclassified": Misclassified,
    "disagreement": Disagreement,
    "activations": Activations,
    "gates": Gates,
    "sparsity": Sparsity,
    "gradients": Gradients,
    "agc": Agc,
}
"""Kind -> class; the same name stands in a study file."""

__all__ = ["FIGURES", "Drawn", "Figure", "NotDrawnError", "Source"]
