"""A bundled model in Keras 3 on JAX, trained by `fit`, in a process that works when it is told; no benchmark.

The net is written layer by layer after the plain torch one (`plain_nets.py`), with its weights, and its
logits are held against it before anything is timed. As a script it answers every line of its input with a
line: seconds of a step, from Keras' own begin to its end of an epoch.

    python benchmarks/keras_side.py "resnet, float32" 1 wall 24
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"


def one_pool(threads: int) -> None:
    """Let XLA make its pool of threads as if the process had so many cores."""
    import jax

    if not hasattr(os, "sched_setaffinity"):
        return
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:threads])
    jax.devices()
    jax.numpy.zeros(()).block_until_ready()
    for task in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(task.name), every)  # the pool keeps its size, not the core


class Written:
    """Writes a plain torch net in Keras; channels are last, as Keras has them on a processor."""

    def __init__(self) -> None:
        import keras

        self.keras, self.layers = keras, keras.layers
        self.filled: list[tuple[Any, list[np.ndarray[Any, Any]]]] = []

    def net(self, net: Any, shape: tuple[int, int, int]) -> Any:
        """The model, images (N, H, W, C) to logits (N, classes) in float32, with the net's weights.

        Raises:
            UnknownLayerError: It has a layer that is not known here.
        """
        channels, height, width = shape
        images = self.keras.Input((height, width, channels))
        logits = self.applied(net.layers, images)
        if len(logits.shape) > 2:
            logits = self.layers.Flatten()(logits)
        logits = self.layers.Activation("linear", dtype="float32")(logits)
        model = self.keras.Model(images, logits)
        for layer, weights in self.filled:
            layer.set_weights(weights)
        return model

    def applied(self, layer: Any, x: Any) -> Any:  # noqa: PLR0911, PLR0912 - a case for each kind
        """What Keras' layer of the same kind makes of x."""
        from plain_nets import Block, Pad, UnknownLayerError
        from torch import nn

        made = self.layers
        match layer:
            case nn.Sequential():
                for part in layer:
                    x = self.applied(part, x)
                return x
            case Block():
                h = self.applied(layer.enter, x)
                shortcut = self.applied(layer.shortcut, h if layer.projects else x)
                return self.applied(
                    layer.leave, made.Add()([self.applied(layer.branch, h), shortcut])
                )
            case Pad():
                thinned = x[:, :: layer.stride, :: layer.stride, :] if layer.stride > 1 else x
                pads = [(0, 0), (0, 0), (0, 0), (0, layer.new)]
                return made.Lambda(lambda t: self.keras.ops.pad(t, pads))(thinned)
            case nn.Conv2d():
                return self._conv(layer, x)
            case nn.BatchNorm2d():
                norm = made.BatchNormalization(momentum=1 - layer.momentum, epsilon=layer.eps)
                arrays = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
                self.filled.append((norm, [a.detach().numpy() for a in arrays]))
                return norm(x)
            case nn.ReLU():
                return made.ReLU()(x)
            case nn.Dropout():
                return made.Dropout(layer.p)(x)
            case nn.Identity():
                return x
            case nn.Linear():
                dense = made.Dense(layer.out_features)
                weights = [layer.weight.detach().numpy().T, layer.bias.detach().numpy()]
                self.filled.append((dense, weights))
                return dense(x)
            case nn.Flatten():
                return made.Flatten()(made.Permute((3, 1, 2))(x) if max(x.shape[1:3]) > 1 else x)
            case nn.MaxPool2d() if not layer.padding:
                return made.MaxPooling2D(layer.kernel_size, layer.stride)(x)
            case nn.AvgPool2d() if layer.ceil_mode and max(x.shape[1:3]) == 1:
                return x  # the mean of one pixel, of which Keras on JAX makes four times it
            case nn.AvgPool2d() if not layer.padding:
                side = "same" if layer.ceil_mode else "valid"
                return made.AveragePooling2D(layer.kernel_size, layer.stride, padding=side)(x)
            case nn.AdaptiveAvgPool2d() if layer.output_size == 1:
                return made.GlobalAveragePooling2D(keepdims=True)(x)
        raise UnknownLayerError(f"{layer}: not known as a layer of Keras")

    def _conv(self, layer: Any, x: Any) -> Any:
        pads, strides = layer.padding, layer.stride
        same = strides == (1, 1) and all(
            2 * p + 1 == k for p, k in zip(pads, layer.kernel_size, strict=True)
        )
        if any(pads) and not same:
            x = self.layers.ZeroPadding2D(pads)(x)
        conv = self.layers.Conv2D(
            layer.out_channels,
            layer.kernel_size,
            strides=strides,
            padding="same" if same else "valid",
            use_bias=layer.bias is not None,
        )
        weights = [layer.weight.detach().numpy().transpose(2, 3, 1, 0)]
        self.filled.append(
            (conv, weights + ([] if layer.bias is None else [layer.bias.detach().numpy()]))
        )
        return conv(x)


def fitted(case: Any, now: Callable[[], float]) -> Callable[[], float]:
    """A window of a case: seconds of a step of an epoch of `fit`."""
    import keras
    import torch
    from plain_nets import plain_net
    from step_cases import made

    bfloat16 = case.recipe.precision == "bfloat16"
    keras.config.set_dtype_policy("mixed_bfloat16" if bfloat16 else "float32")
    images, training = made(case), case.training("channels_last", case.recipe.precision)
    net = plain_net(case.recipe, case.shape, case.classes)
    model = Written().net(net, case.shape)
    some = torch.from_numpy(images.scaled[:8])
    with torch.no_grad():
        wanted = net.eval()(some).numpy()
    found = np.asarray(model(some.permute(0, 2, 3, 1).contiguous().numpy(), training=False))
    if not np.allclose(
        found, wanted, atol=0.05 if bfloat16 else 1e-3, rtol=0.05 if bfloat16 else 1e-3
    ):
        raise SystemExit(f"Keras' {case.name} has other logits: {abs(found - wanted).max()} apart")
    sgd = training.optimizer == "sgd"
    optimizer = (
        keras.optimizers.SGD(training.lr, training.momentum)
        if sgd
        else keras.optimizers.Adam(training.lr, training.momentum, epsilon=training.eps)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    clock = _clock(keras, now)
    size = case.recipe.batch_size
    if case.augment:
        given: dict[str, Any] = {"x": _pictures(keras, images.pictures(case.augment), size)}
    else:
        x = np.ascontiguousarray(images.scaled.transpose(0, 2, 3, 1))
        given = {"x": x, "y": images.labels, "batch_size": size, "shuffle": True}

    def window() -> float:
        model.fit(**given, epochs=1, verbose=0, callbacks=[clock])
        return clock.seconds / case.steps

    return window


def _clock(keras: Any, now: Callable[[], float]) -> Any:
    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        """Seconds of the last epoch."""

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self.begun = now()

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.seconds = now() - self.begun

    return Clock()


def _pictures(keras: Any, pictures: Any, size: int) -> Any:
    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        """Batches of pictures that are transformed one by one."""

        def __init__(self) -> None:
            super().__init__()
            self.order = np.random.permutation(len(pictures))

        def __len__(self) -> int:
            return len(pictures) // size

        def __getitem__(self, index: int) -> Any:
            taken = [pictures[i] for i in self.order[index * size : (index + 1) * size]]
            images = np.stack([image.numpy().transpose(1, 2, 0) for image, _ in taken])
            return images, np.array([label for _, label in taken])

        def on_epoch_end(self) -> None:
            np.random.shuffle(self.order)

    return Batches()


def serve() -> None:
    """Build the case that the command line names, then run a window for every line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    name, threads = sys.argv[1], int(sys.argv[2])
    one_pool(threads)
    import torch
    from step_cases import CLOCKS, cases

    torch.set_num_threads(threads)
    case = next(case for case in cases() if case.name == name)
    window = fitted(replace(case, steps=int(sys.argv[4])), CLOCKS[sys.argv[3]])
    print(json.dumps(True), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(window()), file=answers, flush=True)


if __name__ == "__main__":
    serve()
