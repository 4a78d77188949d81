"""Steps of one norm that can be timed, here or in a child process with a checkout of normlab.

As a script it is such a child: it reads a line of JSON from its input, does what it says, and answers
with one. It uses nothing of normlab but `make`, so that older checkouts can be timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import Side, timed
from torch import Tensor, nn

from normlab.norms import make

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def maps(shape: tuple[int, ...], layout: str, dtype: str = "float32") -> tuple[Tensor, Tensor]:
    """A map that wants a gradient, and the gradient of the output."""
    source = torch.Generator().manual_seed(0)
    x, dy = (
        torch.randn(shape, generator=source).to(DTYPES[dtype], memory_format=LAYOUTS[layout])
        for _ in range(2)
    )
    return x.requires_grad_(), dy


def step(layer: nn.Module, x: Tensor, dy: Tensor) -> Callable[[], object]:
    """Forward and backward of one layer, gradients of input and parameters.

    Gradients are handed over, as in the middle of a net: a leaf's `.grad` would be a copy more.
    """
    wanted = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), wanted, dy)


class Checkout:
    """A checkout of normlab in a process of its own, which works when it is told to.

    Args:
        checkout: Its folder.
        threads: CPU threads of the process.
        script: What runs there, with the arguments `--serve` and the threads: it answers
            `{"where": true}` with the place of the normlab that it has.
    """

    def __init__(self, checkout: Path, threads: int, script: Path = Path(__file__)) -> None:
        source = checkout / "src"
        if not (source / "normlab").is_dir():
            raise SystemExit(f"{checkout}: there is no {source / 'normlab'}")
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--serve", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(source)},
        )
        found = Path(self.ask({"where": True}))
        if source.resolve() not in found.resolve().parents:
            raise SystemExit(f"{checkout}: the child took normlab from {found}")

    def ask(self, order: dict[str, Any]) -> Any:
        """Give an order, wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a child has ended: see its error above")
        return json.loads(line)

    def side(
        self, kind: str, shape: tuple[int, ...], layout: str, dtype: str, options: dict[str, Any]
    ) -> Side:
        """The same step there; what it returns is timed by the child's own clock."""
        order = {"kind": kind, "shape": shape, "layout": layout, "dtype": dtype}
        self.ask({**order, "options": options})
        return lambda steps: float(self.ask({"steps": steps}))

    def close(self) -> None:
        """End the child."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve() -> None:
    """Do what the lines of the input say until it ends."""
    import normlab
    from normlab.train.memory import keep_freed_memory

    torch.set_num_threads(int(sys.argv[2]))
    keep_freed_memory()
    run: Side | None = None
    for line in sys.stdin:
        order = json.loads(line)
        answer: Any = True
        if "where" in order:
            answer = str(normlab.__file__)
        elif "steps" in order:
            assert run is not None
            answer = run(order["steps"])
        else:
            shape = tuple(order["shape"])
            layer = make(order["kind"], shape[1], **order["options"])
            run = timed(step(layer, *maps(shape, order["layout"], order["dtype"])))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
