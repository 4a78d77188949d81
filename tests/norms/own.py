"""The example of the guide: a norm of one's own, in full."""

from torch import Tensor

from normlab.norms import MomentNorm


class SharedDeviation(MomentNorm):
    """Take off each channel's own mean, divide by the deviation common to the image's channels."""

    def coefficients(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        scale = (var.mean(dim=1, keepdim=True) + self.eps).rsqrt()
        return scale, mean.new_zeros(())
