"""AGC of a transposed convolution, whose weight has its output channels in dimension 1."""

import sys
import types

import pytest
import torch
from torch import nn

from normlab.data import splits
from normlab.recipe import Recipe
from normlab.train import train

CLIP, EPS = 0.01, 1e-3
SEEN = []


class Net(nn.Module):
    """Six output units of `up`, of which the first has a much larger gradient."""

    def __init__(self, in_channels, num_classes, transposed=True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.up = (nn.ConvTranspose2d if transposed else nn.Conv2d)(4, 6, 3, bias=False)
        self.fc = nn.Linear(6, num_classes)
        self.register_buffer("loud", torch.tensor([100.0, 1, 1, 1, 1, 1]))

    def forward(self, x):
        if torch.is_grad_enabled() and len(x) > 99:  # a step of the training
            SEEN.append(self.up.weight.detach().clone())
        return self.fc(self.up(self.conv(x)).mean((2, 3)) * self.loud)


def one_step(transposed, **options):
    """The weight before the step, and the step as a gradient."""
    SEEN.clear()
    recipe = Recipe.model_validate({
        "data": "digits", "model": {"kind": "mine:Net", "transposed": transposed}, "norm": "none", "epochs": 1,
        "batch_size": 4096, "lr": 1.0, "momentum": 0.0, **options,
    })  # fmt: skip
    *_, end = train(recipe, 0, splits(recipe), probes=False)
    (before,) = SEEN
    return before, before - end.weights["up.weight"]


@pytest.mark.parametrize("transposed", [False, True], ids=["Conv2d", "ConvTranspose2d"])
def test_every_output_unit_is_clipped_to_its_own_limit(monkeypatch, transposed):
    """The step of a decoder against the definition, with a clip of 1 %."""
    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(Net=Net))
    weight, gradient = one_step(transposed)
    _, clipped = one_step(transposed, agc={"clip": CLIP, "eps": EPS})
    dims = (0, 2, 3) if transposed else (1, 2, 3)
    limit = CLIP * torch.linalg.vector_norm(weight, dim=dims, keepdim=True).clamp_min(EPS)
    norm = torch.linalg.vector_norm(gradient, dim=dims, keepdim=True)
    assert (norm > limit).any(), "nothing to clip"
    expected = gradient * (limit / norm).clamp(max=1)
    torch.testing.assert_close(clipped, expected, rtol=1e-2, atol=1e-5)
