"""The kit passes what is right and catches what is wrong."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from normlab.errors import UserError
from normlab.norms import NORMS
from normlab.norms.conformance import CHECKS, DEFINITIONS, assert_conforms, check
from normlab.norms.conformance.checks import run
from normlab.norms.conformance.subject import Subject
from tests.norms.plain import plain
from tests.norms.planted import PLANTED, Planted
from tests.norms.planted_in_use import IN_USE, InUse

SLOW = {"torch.compile", "torch.export"}
"""Seconds each: run on every kind, and on wrong layers where they are to catch the mistake."""


def failing(
    layer: Callable[..., nn.Module], kind: str, options: dict[str, Any], *, slow: bool
) -> dict[str, str]:
    checks = {name: made for name, made in CHECKS.items() if slow or name not in SLOW}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a wrong layer does may well warn
        found = run(Subject(layer, options, DEFINITIONS[kind]), checks)
        return {name: wrong for name, wrong in found if wrong}


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("kind", NORMS)
def test_every_kind_conforms_on_every_backend(
    kind: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMLAB_BACKEND", backend)
    assert_conforms(kind)


@pytest.mark.parametrize("kind", [kind for kind in DEFINITIONS if not kind.startswith("torch")])
def test_a_plain_layer_written_from_the_definition_conforms(kind: str) -> None:
    if kind == "none":
        pytest.skip("no norm has no eps and no affine to give a plain layer")
    for options in DEFINITIONS[kind].settings:
        assert not failing(plain(kind), kind, options, slow=False)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: f"{p.kind}: {p.wrong}")
def test_every_planted_mistake_is_caught(planted: Planted) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a wrong layer does may well warn
        found = any(f.wrong for f in check(planted.layer, against=planted.kind))
    assert found, "not caught"


@pytest.mark.parametrize("planted", IN_USE, ids=lambda p: f"{p.kind}: {p.wrong}")
def test_a_mistake_in_use_is_caught_by_its_own_checks_alone(planted: InUse) -> None:
    slow = bool(planted.caught & SLOW)
    found = failing(planted.layer, planted.kind, planted.options, slow=slow)
    assert set(found) == planted.caught, found


def test_every_check_of_use_has_a_planted_mistake() -> None:
    values = {
        "signature", "trains", "float64", "float32", "buffers", "eval", "batch of one",
        "ragged batch", "odd channels", "1x1 maps", "constant input", "bfloat16", "state dict",
        "layouts", "activation", "limits", "gate range",
    }  # fmt: skip
    assert set(CHECKS) - values == set().union(*(planted.caught for planted in IN_USE))


def test_there_are_enough_planted_mistakes_of_enough_classes() -> None:
    assert len(PLANTED) >= 30
    assert len({planted.mistake for planted in PLANTED}) >= 5
    assert {planted.kind for planted in PLANTED} == {k for k in DEFINITIONS if "torch" not in k}


def test_a_failure_says_what_is_wrong_in_the_definition_s_words() -> None:
    biased = next(p for p in PLANTED if p.wrong == "biased running variance")
    with pytest.raises(AssertionError, match=r"running_var after 50 steps.*new variance unbiased"):
        assert_conforms(biased.layer, against="batch")


def test_every_layer_has_a_definition_with_settings() -> None:
    assert set(DEFINITIONS) == set(NORMS)
    assert all(definition.settings for definition in DEFINITIONS.values())


def test_without_a_definition_the_general_checks_remain() -> None:
    assert not [finding for finding in check(plain("layer")) if finding.wrong]
    outside = next(p for p in PLANTED if p.wrong == "cannot be traced")
    wrong = [f.check for f in check(outside.layer) if f.wrong]
    assert wrong == ["torch.compile", "torch.export"]


def test_an_exception_in_a_layer_is_a_finding() -> None:
    class Broken(NORMS["layer"]):  # type: ignore[misc, name-defined]
        def forward(self, x: object) -> object:
            raise KeyError("boom")

    wrong = [finding.wrong for finding in check(Broken, against="layer") if finding.wrong]
    assert len(wrong) > len(CHECKS) / 2
    assert any("KeyError" in str(text) for text in wrong)


def test_unknown_names_are_the_user_s_mistake() -> None:
    with pytest.raises(UserError, match="'batch'"):
        list(check("btach"))
    with pytest.raises(UserError, match="'group'"):
        list(check(plain("layer"), against="groop"))
