"""What tests of profiles share: a machine whose rates are round numbers."""

from normlab.train.profiling import Rates

RATES = Rates(
    precision="float32",
    flops=100.0,
    flops_of="nothing",
    memory=10.0,
    memory_array=4000,
    cache=40.0,
    cache_array=100,
    cache_size=1000,
)
