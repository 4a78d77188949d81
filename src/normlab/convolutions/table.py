"""The best way of each pass by kind of processor and shape: `benchmarks/convolutions.py` writes it.

Kind of processor and dtype -> shape (`normlab.convolutions.choice.text`) -> the ways of the result,
of the gradient of the map, and of that of the weights.
"""

TABLE: dict[str, dict[str, str]] = {
    "avx512_bf16 float32": {
        "16>16 8x8 k3 s1 p1": "winograd winograd pixels",
        "16>32 4x4 k3 s1 p1": "pixels pixels pixels",
        "1>16 8x8 k3 s1 p1": "pixels torch torch",
    },
}
