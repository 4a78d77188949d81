"""All that is to be checked and measured on a GPU, in one run of a few minutes.

    python benchmarks/gpu.py --json benchmarks/results/gpu.json
    python benchmarks/gpu.py --device cpu --seconds 1      # a dry run of what a CPU can do

1. norms: every kind against its definition, with each backend; forward and backward of large maps in
   bfloat16 beside the bandwidth of a copy
2. step: every bundled model by the training loop, data on the device, in each precision; the same
   step captured in a CUDA graph and replayed, its loss beside that of the eager one
3. trials: one trial, then two and four at once, each in a thread with a stream of its own

Needs what training needs: torch, numpy and pydantic. A part that fails says so and does not stop the
others.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from normlab.models import build
from normlab.norms import NORMS, make
from normlab.recipe import Recipe
from normlab.train.loop import Trainer
from normlab.train.stand_in import made_up, still

Row = dict[str, Any]

MODELS: dict[str, tuple[dict[str, Any], tuple[int, int, int], int]] = {
    "digits-small": ({"data": "digits"}, (1, 8, 8), 64),
    "mnist-7288": ({"data": "mnist"}, (1, 28, 28), 128),
    "mnist-7704": ({"data": "mnist"}, (1, 28, 28), 128),
    "resnet": ({"data": "cifar10"}, (3, 32, 32), 128),
    "resnet50": ({"data": "cifar10"}, (3, 32, 32), 128),
    "resnet50-as-published": ({"data": "cifar10"}, (3, 32, 32), 256),
}
OPTIONS = {"group": {"groups": 8}, "ghost_batch": {"splits": 4}, "evonorm_s0": {"groups": 8}}
STEPS = 20


class Bench:
    """The device, and how long anything may take."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.device = torch.device(given.device)
        self.seconds: float = given.seconds
        self.models: list[str] = given.models
        self.is_gpu = self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def time(self, run: Callable[[], object], least: int = 3) -> float:
        """Median seconds of a call, after two that warm up."""
        for _ in range(2):
            run()
        taken: list[float] = []
        end = time.perf_counter() + self.seconds
        while len(taken) < least or (time.perf_counter() < end and len(taken) < 200):
            self.wait()
            start = time.perf_counter()
            run()
            self.wait()
            taken.append(time.perf_counter() - start)
        return median(taken)


def recipe_of(model: str, precision: str) -> Recipe:
    """A plain recipe of a model with batch norm."""
    fixed, _, batch = MODELS[model]
    values = {**fixed, "model": model, "norm": "batch", "precision": precision, "batch_size": batch}
    return still(Recipe.parse(values, "a benchmark"))


def trainer_of(bench: Bench, model: str, precision: str) -> Trainer:
    """A trial on made-up images."""
    _, shape, batch = MODELS[model]
    images = made_up(shape, 10, STEPS * batch, 1)
    return Trainer(recipe_of(model, precision), 0, images, bench.device, probes=False)


def norms(bench: Bench) -> list[Row]:
    """Every kind against float64, and the bytes a second of large maps."""
    rows: list[Row] = []
    backends = ["reference", "cuda"] if bench.is_gpu else ["reference"]
    megabytes = 64 if bench.is_gpu else 4
    shape = (megabytes * 2**20 // 2 // (64 * 32 * 32), 64, 32, 32)
    big = torch.randn(shape, device=bench.device, dtype=torch.bfloat16)
    target = torch.empty_like(big)
    copied = 2 * big.numel() * 2 / bench.time(lambda: target.copy_(big))
    for kind in NORMS:
        if kind == "scaled_ws":
            continue
        for backend in backends:
            os.environ["NORMLAB_BACKEND"] = backend
            layer = make(kind, 64, **OPTIONS.get(kind.removeprefix("torch_"), {}))
            exact = make(kind, 64, **OPTIONS.get(kind.removeprefix("torch_"), {})).double()
            exact.load_state_dict(layer.state_dict())
            layer = layer.to(bench.device)
            x = torch.randn(8, 64, 8, 8)
            with torch.no_grad():
                apart = layer(x.to(bench.device)).cpu() - exact(x.double())
            error = float(apart.abs().max())
            given = big.clone().requires_grad_()

            def step(layer: nn.Module = layer, given: Tensor = given) -> None:
                with torch.autocast(bench.device.type, torch.bfloat16):
                    y = layer(given)
                torch.autograd.grad(y, given, target)

            seconds = bench.time(step)
            moved = 7 * big.numel() * 2  # statistics and result; then their gradients
            rows.append(
                {"part": "norms", "kind": kind, "backend": backend, "error": error,
                 "of the copy's bandwidth": moved / seconds / copied}
            )  # fmt: skip
    os.environ.pop("NORMLAB_BACKEND", None)
    return rows


def steps(bench: Bench) -> list[Row]:
    """The loop's step, eager and captured."""
    rows: list[Row] = []
    for model in bench.models:
        for precision in ("float32", "bfloat16"):
            trainer = trainer_of(bench, model, precision)
            trainer.epoch(1)
            seconds = [trainer.epoch(epoch).seconds / STEPS for epoch in (2, 3, 4)]
            row = {"part": "step", "model": model, "precision": precision}
            row["eager ms"] = 1e3 * median(seconds)
            if bench.is_gpu:
                row |= captured(bench, model, precision)
            rows.append(row)
    return rows


def captured(bench: Bench, model: str, precision: str) -> Row:
    """Forward, backward and update as one CUDA graph, beside the same without."""
    _, shape, batch = MODELS[model]
    recipe = recipe_of(model, precision)
    images = torch.randn((batch, *shape), device=bench.device)
    labels = torch.randint(10, (batch,), device=bench.device)

    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = build(recipe, shape, 10).model.to(bench.device)
        return net, torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, foreach=True)

    def step(net: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
        autocast = torch.autocast("cuda", torch.bfloat16, cache_enabled=False)
        with autocast if precision == "bfloat16" else nullcontext():
            logits = net(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        return loss

    net, optimizer = made()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        warm = [float(step(net, optimizer)) for _ in range(3)]
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(net, optimizer)
    losses = []
    for _ in range(5):
        graph.replay()
        losses.append(float(loss))
    other, its = made()
    eager = [float(step(other, its)) for _ in range(8)]
    apart = max(abs(a - b) for a, b in zip([*warm, *losses], eager, strict=True))
    return {
        "plain eager ms": 1e3 * bench.time(lambda: step(other, its)),
        "captured ms": 1e3 * bench.time(graph.replay),
        "largest difference of a loss": apart,
    }


def trials(bench: Bench) -> list[Row]:
    """Several trials on the device, each in a thread with its own stream."""
    rows: list[Row] = []
    for model in bench.models:
        alone = 0.0
        for count in (1, 2, 4):
            made = [trainer_of(bench, model, "float32") for _ in range(count)]
            for trainer in made:
                trainer.epoch(1)

            def train(trainer: Trainer) -> None:
                own = torch.cuda.stream(torch.cuda.Stream()) if bench.is_gpu else nullcontext()
                with own:
                    trainer.epoch(2)

            threads = [threading.Thread(target=train, args=(trainer,)) for trainer in made]
            bench.wait()
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            bench.wait()
            rate = count * STEPS / (time.perf_counter() - start)
            alone = alone or rate
            rows.append(
                {"part": "trials", "model": model, "at once": count, "steps a second": rate,
                 "times one trial's": rate / alone}
            )  # fmt: skip
    return rows


def main() -> None:
    """Run the parts and write their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--seconds", type=float, default=2.0, help="for each timing")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --device cpu is a dry run")
    bench = Bench(given)
    name = torch.cuda.get_device_name() if bench.is_gpu else "cpu"
    print(f"{name}, torch {torch.__version__}")
    rows: list[Row] = []
    for part in (norms, steps, trials):
        try:
            found = part(bench)
        except Exception:
            traceback.print_exc()
            found = [{"part": part.__name__, "failed": traceback.format_exc(limit=1)}]
        for row in found:
            print(json.dumps(row), flush=True)
        rows += found
    if given.json:
        given.json.write_text(
            json.dumps({"device": name, "torch": torch.__version__, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
