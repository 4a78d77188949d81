"""One trial of the MNIST study as a plain script, with nothing of normlab: a process of `study.py`.

    python benchmarks/mnist_script.py --arm '{"splits": 2}' --images images.npz --out results/

The net of 7,288 parameters, a DataLoader over pictures, SGD; the test images after every epoch; weights,
predictions and a line of JSON for each epoch are stored.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_loops import Pictures, Training, loader, loader_epoch
from torch import Tensor, nn
from torch.nn import functional as F


class Chunks(nn.BatchNorm2d):
    """Ghost batch norm as it is found in public code: batch norm of each chunk of the batch."""

    def __init__(self, channels: int, splits: int) -> None:
        super().__init__(channels)
        self.splits = splits

    def forward(self, x: Tensor) -> Tensor:
        """Any batch (N, C, H, W)."""
        return torch.cat(
            [super(Chunks, self).forward(x_) for x_ in x.chunk(self.splits if self.training else 1)]
        )


class Net(nn.Module):
    """Six unpadded 3x3 convolutions with norm and ReLU, a 1x1 classifier, the average."""

    def __init__(self, splits: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for index, width in enumerate((8, 8, 8, 16, 16, 16), start=1):
            norm = nn.BatchNorm2d(width) if splits == 1 else Chunks(width, splits)
            layers += [nn.Conv2d(channels, width, 3, bias=False), norm, nn.ReLU()]
            channels = width
            if index == 3:
                layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers, nn.Conv2d(16, 10, 1, bias=False), nn.AvgPool2d(5))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 28, 28)."""
        return self.layers(x).flatten(1)


def trial(
    arm: dict[str, Any], seed: int, images: str, out: str, *, epochs: int = 3, threads: int = 1
) -> list[dict[str, float]]:
    """Train, test after every epoch, store; the lines that were written.

    Args:
        arm: `splits` of ghost batch norm, `batch_size`, `l1`, `l2`; each may be left out.
        seed: Of all randomness.
        images: File with `train_images`, `train_labels`, `test_images`, `test_labels`, uint8.
        out: Folder for what is stored.
        epochs: How many.
        threads: Of torch.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    with np.load(images) as file:
        data = {name: file[name] for name in file.files}
    pixels = data["train_images"] / 255
    mean, std = [float(pixels.mean())], [float(pixels.std())]
    size = arm.get("batch_size", 128)
    train = loader(Pictures(data["train_images"], data["train_labels"], (), mean, std), size)
    tests = Pictures(data["test_images"], data["test_labels"], (), mean, std)
    test = loader(tests, 1000, shuffle=False)
    net = Net(arm.get("splits", 1))
    training = Training(lr=0.022, l1=arm.get("l1", 0.0), l2=arm.get("l2", 0.0))
    optimizer = training.made(net)
    lines, logits = [], torch.empty(0)
    for epoch in range(1, epochs + 1):
        loss, accuracy = loader_epoch(net, train, optimizer, training)
        logits, labels = tested(net, test)
        line = {
            "epoch": epoch,
            "loss": loss,
            "accuracy": accuracy,
            "test_loss": float(F.cross_entropy(logits, labels)),
            "test_accuracy": float((logits.argmax(1) == labels).float().mean()),
        }
        lines.append(line)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / "weights.pt")
    np.save(folder / "predictions.npy", logits.argmax(1).numpy())
    (folder / "epochs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return lines


def tested(net: nn.Module, batches: Any) -> tuple[Tensor, Tensor]:
    """Logits and labels of the test images, in eval mode."""
    net.eval()
    with torch.no_grad():
        found = [(net(images), labels) for images, labels in batches]
    return torch.cat([logits for logits, _ in found]), torch.cat([labels for _, labels in found])


def main() -> None:
    parser = argparse.ArgumentParser(description="One trial on MNIST.")
    parser.add_argument("--arm", type=json.loads, default={})
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    lines = trial(
        given.arm, given.seed, given.images, given.out, epochs=given.epochs, threads=given.threads
    )
    print(json.dumps(lines[-1]))


if __name__ == "__main__":
    main()
