"""Statistics over arms and seeds: plain arrays in, plain arrays out. No torch."""

from normlab.stats.intervals import Intervals, one_image_variance, t_intervals

__all__ = ["Intervals", "one_image_variance", "t_intervals"]
