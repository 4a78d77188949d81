"""A norm with running statistics is a batch norm to torch's tools.

`torch.optim.swa_utils.update_bn` and others find layers with running statistics by
``isinstance(module, torch.nn.modules.batchnorm._BatchNorm)``. A kind that derives from `Norm` and
then from `TracksBatches` is found, and loads state dicts that were written before batches were
counted, as `torch.nn.BatchNorm2d` does.

It has no `num_features`, on purpose: `SyncBatchNorm.convert_sync_batchnorm` asks for it, and would
put torch's batch norm in the place of another computation. It fails with an AttributeError instead.
"""

from __future__ import annotations

from torch import nn


class TracksBatches(nn.modules.batchnorm._BatchNorm):
    """Mark a kind that has running buffers and num_batches_tracked; stands behind `Norm`."""

    # What torch.jit reads of a layer: not num_features.
    __constants__ = ["track_running_stats", "momentum", "eps"]

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.track_running_stats = True
