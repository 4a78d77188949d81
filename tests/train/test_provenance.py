"""How a trial computes, read off tensors that lie in one way or the other."""

import pytest
import torch
from torch import nn

from normlab.convolutions import Conv2d
from normlab.convolutions.choice import processor
from normlab.norms.kernels import TABLE
from normlab.source import source_hash
from normlab.train.provenance import computes, kernel_set, layout


def lasts(model: nn.Module) -> nn.Module:
    """The model in channels_last."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("model", "images", "expected"),
    [
        (nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 8, 8), "contiguous"),
        (
            lasts(nn.Conv2d(3, 4, 3)),
            torch.zeros(2, 3, 8, 8),
            "channels_last",
        ),
        (
            nn.Conv2d(3, 4, 3),
            torch.zeros(2, 3, 8, 8).contiguous(memory_format=torch.channels_last),
            "channels_last",
        ),
        # One input channel: the first weight and the images lie both ways, the second tells.
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)),
            torch.zeros(2, 1, 8, 8),
            "contiguous",
        ),
        (
            lasts(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))),
            torch.zeros(2, 1, 8, 8),
            "channels_last",
        ),
        (nn.Linear(64, 4), torch.zeros(2, 1, 8, 8), "contiguous"),
    ],
)
def test_the_layout_is_read_off_tensors_that_tell_it(
    model: nn.Module, images: torch.Tensor, expected: str
) -> None:
    assert computes(model, images, "float32")["layout"] == expected
    assert layout([*model.parameters(), images]) == expected


def test_the_precision_s_path_is_told() -> None:
    model, images = nn.Linear(4, 4), torch.zeros(1, 1, 2, 2)
    told = {p: computes(model, images, p)["precision"] for p in ("float32", "bfloat16", "float64")}
    assert told == {"float32": "float32", "bfloat16": "bfloat16 autocast", "float64": "float64"}


def test_the_kernels_are_those_of_the_tables_with_their_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    norms, convolutions = (source_hash(of, "native") for of in ("norms/kernels", "convolutions"))
    own, torch_s = Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    by_table = TABLE.get(("cpu", torch.float32), "reference")
    found = kernel_set(own, "cpu", torch.float32)
    assert found == f"norms {by_table} {norms}; convolutions {processor()} {convolutions}"
    assert kernel_set(torch_s, "cpu", torch.float32).endswith("; convolutions torch")
    assert kernel_set(own, "cpu", torch.float64).endswith("; convolutions torch")
    monkeypatch.setenv("NORMLAB_BACKEND", "reference")
    assert kernel_set(own, "cpu", torch.float32).startswith(f"norms reference {norms}; ")
