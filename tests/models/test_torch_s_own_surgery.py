"""What torch.nn does with norms in a model, on ours: right or refused, never another function."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from normlab.norms import NORMS, make

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
OPTIONS = {
    "group": {"groups": 2}, "torch_group": {"groups": 2}, "evonorm_s0": {"groups": 2},
    "ghost_batch": {"splits": 2},
}  # fmt: skip
CASES = [
    (kind, activation)
    for kind in NORMS
    for activation in ((None,) if kind.startswith(("evonorm", "filter")) else (None, "relu"))
]


def pair(kind: str, activation: str | None) -> nn.Sequential:
    torch.manual_seed(0)
    norm = make(kind, 4, activation=activation, **OPTIONS.get(kind, {}))
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm)
    for _ in range(3):
        model(X * 2 + 1)
    return model.eval()


# torch looks for attributes, not for types, and cannot be told that there is more.
SEEN_AS_BATCH_NORM = [(kind, "relu") for kind in ("batch", "ghost_batch", "torch_batch")]
SEEN_AS_BATCH_NORM += [(k, a) for k in ("batch_instance", "switchable") for a in (None, "relu")]


def known_to_fail(known: list[tuple[str, str | None]]) -> list[object]:
    mark = pytest.mark.xfail(raises=AssertionError, reason="torch takes it for a bare batch norm")
    return [pytest.param(*case, marks=[mark] if case in known else []) for case in CASES]


def assert_says_why(error: Exception) -> None:
    assert isinstance(error, AttributeError | AssertionError | TypeError | ValueError)
    assert str(error)


@pytest.mark.parametrize(("kind", "activation"), known_to_fail(SEEN_AS_BATCH_NORM))
def test_fusing_a_norm_into_a_convolution_is_right_or_refused(
    kind: str, activation: str | None
) -> None:
    model = pair(kind, activation)
    expected = model(X)
    try:
        fused = fuse_conv_bn_eval(model[0], model[1])  # type: ignore[arg-type, type-var]
    except Exception as error:
        assert_says_why(error)
        return
    torch.testing.assert_close(fused(X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "activation"), CASES)
def test_converting_to_sync_batch_norm_changes_no_output_or_is_refused(
    kind: str, activation: str | None
) -> None:
    model = pair(kind, activation)
    try:
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    except Exception as error:
        assert_says_why(error)
        return
    torch.testing.assert_close(converted(X), model(X), rtol=1e-4, atol=1e-5)
