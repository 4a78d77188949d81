"""Convolutions as machine code made for one shape: float32, channels last, forward and backward.

Two ways to walk over the maps:

- `rows`: a tile of neighbouring pixels of one image; for kernels larger than 1x1 on large maps. A
  map with padding is laid into a frame of zeros, one image at a time.
- `pixels`: one pixel of several images; for 1x1 kernels, small maps and strides. A table says which
  pixels and taps meet, so that padding costs nothing.

Both hold a tile of outputs in registers and add one input channel after the other, as Goto & van
de Geijn 2008 (doi:10.1145/1356052.1356053) do for matrices. `weights` has the gradients of weights,
and the order in which weights are read.
"""
