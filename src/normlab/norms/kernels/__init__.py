"""Backends of the primitive functions every norm is made of; today the plain-torch reference."""

from normlab.norms.kernels.reference import affine, moments

__all__ = ["affine", "moments"]
