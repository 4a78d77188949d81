"""The example of the guide, and models of a user's that are wrong or odd, one way each."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """Two convolutions, each with a norm, and a linear head."""

    def __init__(self, in_channels: int, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.1),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x).mean(dim=(2, 3)))
        return logits


def make_net(num_classes: int, **options: Any) -> Net:
    """A function instead of a class, for grey images."""
    return Net(1, num_classes, **options)


class Bare(nn.Module):
    """No norm, no name for the head, layers declared in another order than they run."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 10)
        self.first = nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.first(x.flatten(1)).relu())
        return logits


class Classifier(nn.Module):
    """A head that is a container, run before a layer that comes later in the model."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Linear(64, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, num_classes)
        )
        self.scale = nn.Conv1d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.scale(self.classifier(x.flatten(1))[:, None])[:, 0]
        return logits


class Convolutional(nn.Module):
    """No linear layer at all."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(in_channels, 4, 3)
        self.to_logits = nn.Conv2d(4, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.to_logits(self.body(x)).mean(dim=(2, 3))
        return logits


class Gain(nn.Module):
    """A parameter of its own, with a role and a way to be drawn."""

    parameter_roles = {"gain": "norm_gain"}

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.empty(10))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.gain, 1.0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class NoRole(Gain):
    parameter_roles = {}


class OddRole(Gain):
    parameter_roles = {"gain": "gian"}


class NoReset(nn.Module):
    parameter_roles = {"gain": "gate"}

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(10))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Gained(nn.Module):
    """A linear layer and then another module, by name."""

    def __init__(self, by: str = "Gain") -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.by = globals()[by]()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.by(self.head(x.flatten(1)))
        return logits


class Biased(nn.Linear):
    """A parameter that the inherited reset_parameters knows nothing of."""

    parameter_roles = {"more": "bias"}

    def __init__(self) -> None:
        super().__init__(10, 10)
        self.more = nn.Parameter(torch.rand(10))


class FunctionalDropout(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.5, self.training)


class TwoOutputs(Bare):
    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits, logits  # type: ignore[return-value]


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        raise KeyError("a mistake of the user's")


class Residual(nn.Module):
    """A norm whose activation is a function in a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(F.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))
        return logits


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits


not_callable = 3


def no_module() -> int:
    return 3
