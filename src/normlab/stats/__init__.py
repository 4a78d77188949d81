"""Statistics over arms and seeds: plain arrays in, plain arrays out. No torch, no pandas."""

from normlab.stats.collapse import collapse_rates, collapsed, earned_scores, without_collapsed
from normlab.stats.intervals import (
    Intervals,
    Moments,
    moments,
    one_image_variance,
    pooled_t_intervals,
    t_intervals,
)
from normlab.stats.survival import Times

__all__ = [
    "Intervals",
    "Moments",
    "Times",
    "collapse_rates",
    "collapsed",
    "earned_scores",
    "moments",
    "one_image_variance",
    "pooled_t_intervals",
    "t_intervals",
    "without_collapsed",
]
