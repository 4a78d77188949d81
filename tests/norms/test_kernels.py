"""Backends: which one runs, that they agree, what they keep, and what happens without one."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from normlab.errors import UserError
from normlab.norms import BatchNorm, GroupNorm, LayerNorm, MomentNorm, kernels, make
from normlab.norms.conformance import assert_conforms
from normlab.norms.kernels import Pooling, cpu
from tests.norms.own import SharedDeviation

KINDS: list[tuple[str, dict[str, object]]] = [
    ("batch", {}), ("ghost_batch", {"splits": 3}), ("instance", {}), ("batch_instance", {}),
    ("group", {"groups": 4}), ("layer", {}), ("rms", {}), ("switchable", {}), ("batch_renorm", {}),
]  # fmt: skip


def maps(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (torch.float32, "cpu"),
        (torch.float64, "cpu"),
        (torch.bfloat16, "cpu"),
        (torch.float16, "reference"),
    ],
)
def test_the_table_chooses_by_device_and_dtype(dtype: torch.dtype, name: str) -> None:
    assert kernels.choose(maps(2, 3, 4, 4).to(dtype)).NAME == name


def test_a_layout_no_loop_can_read_goes_to_the_reference() -> None:
    assert kernels.choose(maps(2, 3, 4, 8)[..., ::2]).NAME == "reference"


def test_the_environment_names_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMLAB_BACKEND", "reference")
    assert kernels.choose(maps(2, 3, 4, 4)).NAME == "reference"
    monkeypatch.setenv("NORMLAB_BACKEND", "cup")
    with pytest.raises(UserError, match=r"NORMLAB_BACKEND: unknown backend 'cup'.*'cpu'"):
        kernels.choose(maps(2, 3, 4, 4))


def test_a_backend_that_cannot_load_leaves_its_work_to_the_reference_with_one_warning() -> None:
    code = (
        "import sys, warnings; sys.modules['numba'] = None\n"
        "import torch\n"
        "from normlab.norms import BatchNorm, kernels\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    for _ in range(3): BatchNorm(3)(torch.randn(4, 3, 5, 5))\n"
        "assert len(caught) == 1 and 'plain torch takes its place' in str(caught[0].message), caught\n"
        "assert kernels.choose(torch.randn(2, 3, 4, 4)).NAME == 'reference'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"]
)
@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda v: v if isinstance(v, str) else "")
def test_threads_and_layouts_agree_with_the_reference(
    kind: str,
    options: dict[str, object],
    layout: torch.memory_format,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = maps(7, 12, 23, 29).contiguous(memory_format=layout)  # large enough for a team
    assert x.numel() >= cpu._SHARED_FROM
    dy = maps(7, 12, 23, 29).flip(0)
    found = {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for backend in ("reference", "cpu"):
            monkeypatch.setenv("NORMLAB_BACKEND", backend)
            layer = make(kind, 12, activation="relu", **options)
            given = x.clone(memory_format=torch.preserve_format).requires_grad_()
            y = layer(given)
            gradients = torch.autograd.grad(y, [given, *layer.parameters()], dy)
            found[backend] = [y, *gradients, *layer.buffers()]
    finally:
        torch.set_num_threads(before)
    for ours, expected in zip(found["cpu"], found["reference"], strict=True):
        torch.testing.assert_close(ours, expected, rtol=2e-5, atol=2e-5)
    assert found["cpu"][0].is_contiguous(memory_format=layout)
    assert found["cpu"][1].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("batch", {"momentum": 0.3}),
        ("batch", {"momentum": None}),
        ("ghost_batch", {"splits": 3}),
        ("ghost_batch", {"splits": 12}),
        ("ghost_batch", {"splits": 3, "running": "per_split"}),
        ("ghost_batch", {"ghost_size": 5, "running": "per_split", "momentum": None}),
    ],
)
def test_running_statistics_move_as_the_reference_s(
    kind: str, options: dict[str, object], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = {}
    try:
        for backend in ("cpu", "reference"):
            monkeypatch.setenv("NORMLAB_BACKEND", backend)
            layer = make(kind, 6, **options)
            for step in range(4):
                layer(3 + step + 2 * maps(12, 6, 24, 24))
            found[backend] = dict(layer.named_buffers())
    finally:
        torch.set_num_threads(before)
    for name, buffer in found["reference"].items():
        torch.testing.assert_close(found["cpu"][name], buffer, rtol=2e-6, atol=2e-6)


def test_a_subclass_with_blocks_of_its_own_moves_its_statistics_by_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Halves(BatchNorm):
        def pooling(self, images: int, pixels: int) -> Pooling:
            return Pooling((2, images - 2), 1)

    found = []
    for backend in ("cpu", "reference"):
        monkeypatch.setenv("NORMLAB_BACKEND", backend)
        layer = Halves(6)
        layer(maps(4, 6, 5, 5))
        found.append(layer.running_mean)
    torch.testing.assert_close(*found)


def test_a_subclass_that_moves_its_statistics_itself_is_let() -> None:
    class Still(BatchNorm):
        def update_running_stats(self, mean: Tensor, var: Tensor) -> None:
            self.running_mean += 1

    layer = Still(6)
    layer(maps(4, 6, 5, 5))
    assert layer.running_mean.tolist() == [1] * 6
    assert layer.running_var.tolist() == [1] * 6


@pytest.mark.parametrize("momentum", [1.0, None, -0.5])
def test_running_statistics_of_any_momentum_keep_small_variances(
    momentum: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for backend in ("cpu", "reference"):
        monkeypatch.setenv("NORMLAB_BACKEND", backend)
        layer = BatchNorm(6, momentum=momentum)
        layer(1e-4 * maps(4, 6, 5, 5))
        found.append(layer.running_var)
    torch.testing.assert_close(*found, rtol=1e-5, atol=0)


def test_a_smaller_team_than_asked_for_stays_within_its_memory() -> None:
    code = """
import torch
from normlab.norms import make
torch.set_num_threads(4)
norm = make("ghost_batch", 64, splits=3)
for _ in range(50):
    y = norm(torch.randn(12, 64, 32, 32, requires_grad=True))
    y.sum().backward()
"""
    environment = {**os.environ, "OMP_THREAD_LIMIT": "2", "MALLOC_PERTURB_": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_autograd_sees_that_running_statistics_moved() -> None:
    layer = BatchNorm(6)
    product = layer.running_mean * torch.ones(6, requires_grad=True)
    layer(maps(4, 6, 5, 5))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_the_number_of_threads_changes_no_bit_of_the_output(kind: str) -> None:
    x, outputs = maps(8, 16, 24, 24), []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        outputs.append(make(kind, 16)(x))
    torch.set_num_threads(before)
    assert torch.equal(*outputs)


def saved_bytes(layer: nn.Module, x: Tensor) -> int:
    """Bytes that live on between forward and backward, beside input, output and parameters."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    return sum(kept.values())


@pytest.mark.parametrize(
    ("kind", "options"), KINDS[:6], ids=lambda v: v if isinstance(v, str) else ""
)
@pytest.mark.parametrize("size", [24, 32])
def test_little_more_than_the_input_is_kept_for_backward(
    kind: str, options: dict[str, object], size: int
) -> None:
    x = maps(16, 16, size, size).requires_grad_()
    layer = make(kind, 16, activation="relu", **options)
    assert kernels.choose(x).NAME == "cpu"
    assert x.nbytes <= saved_bytes(layer, x) <= 1.05 * x.nbytes


def test_double_backward_goes_through_the_reference() -> None:
    x = maps(4, 6, 5, 5, dtype=torch.float64).requires_grad_()
    layer = GroupNorm(6, groups=2, activation="relu").double()
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert second.isfinite().all()
    assert second.any()


def test_a_layer_that_ran_can_be_copied_and_pickled() -> None:
    layer = BatchNorm(6)
    layer(maps(4, 6, 5, 5))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        x = maps(4, 6, 5, 5)
        torch.testing.assert_close(other(x), layer(x))


def test_one_layer_may_run_in_several_threads() -> None:
    layer, x = LayerNorm(8), maps(4, 8, 12, 12)
    expected, wrong = layer(x), []

    def work() -> None:
        wrong.extend(not torch.equal(layer(x), expected) for _ in range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(wrong)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["layer", "batch", "rms", "switchable"])
def test_parameters_of_another_dtype_are_read_right(kind: str, training: bool) -> None:
    layer, x = make(kind, 6).train(training), maps(4, 6, 5, 5).requires_grad_()
    expected = layer(x)
    (gradient,) = torch.autograd.grad(expected.square().sum(), x)
    found = layer.double()(x)
    torch.testing.assert_close(found, expected)
    (other,) = torch.autograd.grad(found.square().sum(), x)
    torch.testing.assert_close(other, gradient, rtol=1e-4, atol=1e-4)


def test_a_layer_changed_after_it_ran_computes_what_it_is_now() -> None:
    layer, x = LayerNorm(6, activation="relu"), maps(4, 6, 5, 5)
    layer(x)
    layer.eps, layer.activation = 0.5, None
    torch.testing.assert_close(layer(x), LayerNorm(6, eps=0.5)(x))
    layer.weight = layer.bias = None
    torch.testing.assert_close(layer(x), LayerNorm(6, eps=0.5, affine=False)(x))


def test_splits_follow_the_map_at_hand_when_sizes_alternate() -> None:
    layer = make("ghost_batch", 3, ghost_size=1)
    for size in (4, 1, 4, 1):
        x = maps(5, 3, size, size)
        torch.testing.assert_close(layer(x), make("ghost_batch", 3, ghost_size=1)(x))


def test_parameters_that_do_not_lie_side_by_side_are_read_right() -> None:
    layer, x = LayerNorm(6), maps(4, 6, 5, 5)
    layer(x)
    layer.weight = nn.Parameter(torch.arange(12.0)[::2])
    torch.testing.assert_close(
        layer(x), LayerNorm(6, affine=False)(x) * layer.weight.view(1, 6, 1, 1)
    )


@pytest.mark.parametrize("kind", ["layer", "rms", "instance"])
def test_torch_func_sees_torch_s_operations(kind: str) -> None:
    layer, x = make(kind, 6), maps(4, 6, 5, 5)
    layer(x)

    def loss(x: Tensor) -> Tensor:
        return layer(x).pow(3).sum()

    given = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(given), given)
    torch.testing.assert_close(torch.func.grad(loss)(x), expected, rtol=1e-4, atol=1e-4)
    stacked = torch.stack([x, x + 1])
    torch.testing.assert_close(torch.func.vmap(layer)(stacked)[0], layer(x))


def test_a_trace_holds_torch_s_operations() -> None:
    layer, x = LayerNorm(6).eval(), maps(4, 6, 5, 5)
    layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of jit, which torch deprecates
        traced = torch.jit.trace(layer, x)
    torch.testing.assert_close(traced(x), layer(x))
    assert "PythonOp" not in str(traced.graph)


@pytest.mark.parametrize("shape", [(0, 6, 4, 4), (3, 6, 0, 4)])
@pytest.mark.parametrize("kind", ["batch", "layer", "instance", "rms"])
def test_nothing_in_nothing_out(kind: str, shape: tuple[int, ...]) -> None:
    layer = make(kind, 6)
    assert layer(torch.empty(shape)).shape == shape


COMPILED = """
import sys, warnings
import torch
from normlab.norms import make
kind = sys.argv[1]
options = {"groups": 2} if kind == "group" else {}
plain, compiled = (make(kind, 6, activation="relu", **options) for _ in range(2))
x = torch.randn(4, 6, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
y = x.detach().clone().requires_grad_()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # inductor's own
    found = torch.compile(compiled)(x)
    found.square().sum().backward()
expected = plain(y)
expected.square().sum().backward()
torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-4)
for name, buffer in plain.named_buffers():
    torch.testing.assert_close(compiled.get_buffer(name), buffer)
print("the same")
"""


@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile's default needs a C++ compiler"
)
@pytest.mark.parametrize("kind", ["batch", "group"])
def test_a_real_compile_changes_nothing(kind: str) -> None:
    # In a process of its own: the compiler imports setuptools, which fails where another test has
    # imported Python's own distutils.
    ended = subprocess.run(
        [sys.executable, "-c", COMPILED, kind], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "the same" in ended.stdout


def test_an_own_norm_conforms_and_runs_on_the_loops() -> None:
    assert_conforms(SharedDeviation)
    x = maps(4, 6, 5, 5).requires_grad_()
    y = SharedDeviation(6)(x)
    assert "Affine" in type(y.grad_fn).__name__
    centered = x - x.mean((2, 3), keepdim=True)
    deviation = (centered.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(y, centered / deviation)


def test_an_own_norm_in_a_recipe() -> None:
    from normlab.models import build
    from normlab.recipe import Recipe

    values = {"data": "digits", "model": "digits-small", "norm": "tests.norms.own:SharedDeviation"}
    model = build(Recipe.parse(values), (1, 8, 8), 10).model
    assert sum(isinstance(module, SharedDeviation) for module in model.modules()) == 3
    with pytest.raises(UserError, match="unexpected keyword argument 'size'"):
        build(
            Recipe.parse(
                {**values, "norm": {"kind": "tests.norms.own:SharedDeviation", "size": 3}}
            ),
            (1, 8, 8),
            10,
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch.module:X", "cannot be imported"),
        ("torch:nosuch", "cannot be imported"),
        ("torch:nn", "Module class is needed"),
    ],
)
def test_an_import_path_that_leads_nowhere_is_the_user_s_mistake(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(name, 4)


def test_coefficients_are_all_an_own_kind_must_have() -> None:
    with pytest.raises(NotImplementedError):
        MomentNorm(4)(maps(2, 4, 3, 3))


TRACE = """
import hashlib, torch
from normlab.norms import make
torch.set_num_threads(1)
torch.manual_seed(0)
layer, x = make("batch", 16, activation="relu"), torch.randn(64, 16, 8, 8, requires_grad=True)
y = layer(x)
(y * torch.randn_like(y)).sum().backward()
parts = (y, x.grad, layer.weight.grad, layer.running_var)
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parts)).hexdigest())
"""


def test_the_process_that_compiles_computes_what_later_ones_load(tmp_path: Path) -> None:
    # It did not once: a resumed trial differed in its last bits from one on a fresh machine.
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    found = {
        subprocess.run(
            [sys.executable, "-c", TRACE],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    }
    assert len(found) == 1
