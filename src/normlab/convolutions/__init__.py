"""Convolutions on the CPU, each pass by the way that is best for its shape.

torch's convolutions run at a tenth to a half of a core on the small maps and narrow layers of image
classifiers for research. `Conv2d` is `torch.nn.Conv2d` to everyone else; inside, a static table
chooses torch's own convolution, a product of matrices, or loops made for the shape.
"""

from normlab.convolutions.ahead import prepare, shapes
from normlab.convolutions.autograd import convolve
from normlab.convolutions.layer import Conv2d
from normlab.convolutions.ways import WAYS

__all__ = ["WAYS", "Conv2d", "convolve", "prepare", "shapes"]
