"""The Triton kernels, in Triton's interpreter where there is no GPU.

The interpreter is chosen by an environment variable read at import, so each test has a process of
its own.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton here")

PRIMITIVES = """
import torch
from normlab.norms.kernels import cuda, reference

device = "cuda" if torch.cuda.is_available() else "cpu"
for dtype, bound in ((torch.float32, 1e-5), (torch.float64, 1e-12), (torch.bfloat16, 2e-2)):
    for pixels in ((1, 1), (3, 5), (37, 41)):
        torch.manual_seed(0)
        x = (torch.randn(2, 3, *pixels) + 1).to(device, dtype)
        dy = torch.randn(2, 3, *pixels).to(device, dtype)
        assert cuda.supports(x)
        wide = reference.statistics_dtype(x)
        for shape in ((2, 3), (3,)):
            s, a, b, fa, fb, fc = (torch.randn(shape, device=device, dtype=wide) for _ in range(6))
            full = [q.expand(2, 3)[..., None, None] for q in (s, a, b, fa, fb, fc)]
            close = lambda found, expected: torch.testing.assert_close(
                found.to(wide), expected.to(wide), rtol=bound, atol=bound * pixels[0] * pixels[1])
            for found, expected in zip(cuda.moments(x), reference.moments(x)):
                close(found, expected.to(wide))
            for relu in (False, True):
                pre = full[1] * (x.to(wide) - full[0]) + full[2]
                e = dy.to(wide) * (pre > 0) if relu else dy.to(wide)
                close(cuda.affine(x, s, a, b, relu), pre.relu() if relu else pre)
                d0, d1 = cuda.sums(x, dy, s, a, b, relu)
                close(d0, e.sum((2, 3)))
                close(d1, (e * (x.to(wide) - full[0])).sum((2, 3)))
                close(cuda.dx(x, dy, (s, a, b), relu), full[1] * e)
                if shape == (2, 3):
                    count = pixels[0] * pixels[1]
                    slopes = (fa.square(), fb, fc)
                    expected = full[1] * e + full[4] / count + 2 * full[5] / count * (x.to(wide) - full[0])
                    close(cuda.dx(x, dy, (s, a, b), relu, slopes), expected)
"""

LAYER = """
import torch
from normlab.norms import kernels, make

device = "cuda" if torch.cuda.is_available() else "cpu"
import os
x = torch.randn(4, 6, 5, 7, device=device)
dy = torch.randn(4, 6, 5, 7, device=device)
for kind, options in (("batch", {}), ("group", {"groups": 2}), ("batch_instance", {}), ("rms", {})):
    found = {}
    for backend in ("reference", "cuda"):
        os.environ["NORMLAB_BACKEND"] = backend
        assert kernels.choose(x).NAME == backend
        layer = make(kind, 6, activation="relu", **options).to(device)
        given = x.clone().requires_grad_()
        y = layer(given)
        found[backend] = [y, *torch.autograd.grad(y, [given, *layer.parameters()], dy), *layer.buffers()]
    for ours, expected in zip(found["cuda"], found["reference"]):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.parametrize("code", [PRIMITIVES, LAYER], ids=["primitives", "layers"])
def test_the_kernels_equal_the_reference(code: str) -> None:
    interpret = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **interpret})


def test_without_gpu_and_interpreter_the_reference_takes_its_place() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code = (
        "import warnings, torch\nfrom normlab.norms import kernels\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    assert kernels.choose(torch.randn(2, 3, 4, 4)).NAME == 'reference'\n"
        "assert 'no CUDA device' in str(caught[0].message)\n"
    )
    environment = {**os.environ, "NORMLAB_BACKEND": "cuda"}
    environment.pop("TRITON_INTERPRET", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
