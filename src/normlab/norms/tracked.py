"""A norm with running statistics is a batch norm to torch's tools.

`torch.optim.swa_utils.update_bn` and others find layers with running statistics by
``isinstance(module, torch.nn.modules.batchnorm._BatchNorm)``. A kind that derives from `Norm` and
then from `TracksBatches` is found, and loads state dicts that were written before batches were
counted, as `torch.nn.BatchNorm2d` does. Those that would replace it by another computation
(`SyncBatchNorm.convert_sync_batchnorm`) ask for `num_features` and are refused.
"""

from __future__ import annotations

from typing import NoReturn

from torch import nn


class TracksBatches(nn.modules.batchnorm._BatchNorm):
    """Mark a kind that has running buffers and num_batches_tracked; stands behind `Norm`."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.track_running_stats = True

    @property
    def num_features(self) -> NoReturn:  # type: ignore[override]
        """Refused: what asks for it makes a `SyncBatchNorm`, which computes something else.

        Raises:
            TypeError: Always; `num_channels` is the number of channels.
        """
        kind = type(self).__name__
        raise TypeError(
            f"{kind} cannot become a torch.nn.SyncBatchNorm, which would compute batch norm: "
            f"leave it out (its number of channels is num_channels)"
        )
