"""The loops of the CPU backend, compiled by Numba when first used; see `normlab.norms.kernels.cpu`.

Maps x, y and their gradients are (N, C, H, W) with P = H * W pixels, given as flat arrays that lie
contiguous ("nchw": the P pixels of a channel side by side) or channels_last ("nhwc": the C channels
of a pixel side by side). A block is what shares one mean and one variance: one of `splits` runs of
images by `size` consecutive channels. With M its mean as rounded, E what the rounding left over and
R = 1 / sqrt(var + eps),

    y = scale * (x - M) + shift        scale = R * gain, shift = bias - E * scale

Deviations are taken from a number near the mean and corrected by what that left over; a difference
of large squares is never taken.

| file | what |
| --- | --- |
| `rows`, `columns` | loops over values, with factors in registers or in arrays beside the row |
| `blocks` | from moments to factors, from sums to slopes, running statistics |
| `general` | statistics and factors of every (n, c) in float64: own kinds, and the gate |
| `pooled_*` | forward and backward of described kinds; `cpu.way` chooses by shape and layout |
| `memory`, `tasks` | what Python calls: by the address of an array of integers |

Every loop works on a part of the images, so that threads can share the work; what is computed of a
map does not depend on how many there are.
"""
