"""Which parameters of runs are factors: those that make the arms, each under one name."""

import itertools

import pytest

from normlab.trackers.factors import telling_parameters, varying_parameters

NORMS = {
    "batch": {"norm": "batch"},
    "group": {"norm": "{kind: group, groups: 4}", "norm.kind": "group", "norm.groups": "4"},
    "fine": {"norm": "{kind: group, groups: 8}", "norm.kind": "group", "norm.groups": "8"},
    "layer": {"norm": "layer"},
}


def telling(said: list[dict[str, str]]) -> list[str]:
    return telling_parameters(list(dict.fromkeys(name for one in said for name in one)), said)


def grid(**levels: str) -> list[dict[str, str]]:
    return [dict(zip(levels, cells, strict=True)) for cells in itertools.product(*levels.values())]


@pytest.mark.parametrize("label", ["arm", "normlab.arm", "group", "exp"])
def test_a_component_stands_for_its_keys_and_for_its_label(label: str) -> None:
    said = [{label: name, **values} for name, values in NORMS.items()]
    assert telling(said) == ["norm"] if label != "exp" else ["exp"]


def test_without_the_component_its_keys_are_the_factors() -> None:
    said = [
        {"norm.kind": kind, "norm.groups": groups, "arm": kind + groups}
        for kind, groups in (("batch", ""), ("group", "4"), ("group", "8"), ("layer", ""))
    ]
    assert telling(said) == ["norm.kind", "norm.groups"]


@pytest.mark.parametrize("label", ["arm", "experiment_name"])
def test_a_label_of_every_cell_is_left_out(label: str) -> None:
    said = [{label: "".join(one.values()), **one} for one in grid(norm="ab", batch_size="48")]
    assert telling(said) == ["norm", "batch_size"]
    assert telling([{label: one[label], "lr": "1"} for one in said]) == [label]


def test_what_follows_from_another_one_is_left_out() -> None:
    said = [{**one, "layers": {"a": "2", "b": "9", "c": "9"}[one["net"]]}
            for one in grid(net="abc", lr="12")]  # fmt: skip
    assert telling(said) == ["net", "lr"]


def test_what_several_tell_together_stays() -> None:
    half = [one for one in grid(a="01", b="01", c="01") if sum(map(int, one.values())) % 2]
    assert telling(half) == ["a", "b", "c"]


def test_what_is_unset_tells_nothing() -> None:
    said = [{"kind": "batch"}, {"kind": "group", "groups": "4"}, {"kind": "group", "groups": "8"}]
    assert telling(said) == ["kind", "groups"]


def test_numbers_of_a_trial_are_no_factors() -> None:
    said = [{**one, "parameters": {"a": "7514", "b": "7450"}[one["norm"]], "test_images": "9"}
            for one in grid(norm="ab", lr="12")]  # fmt: skip
    assert telling(said) == ["norm", "lr"]
    # Also where none of the others tells it.
    odd = [{**one, "Parameters": text} for one, text in zip(said, "1221", strict=True)]
    assert varying_parameters(odd, None) == ["norm", "lr"]


def test_the_arms_are_the_same_without_what_is_left_out() -> None:
    said = [
        {"arm": f"{name} {size}", "size": size, "half": str(int(size) // 2), **values}
        for name, values in NORMS.items()
        for size in ("4", "8")
    ]
    names = telling(said)
    assert names == ["size", "norm"]
    assert len({tuple(one.get(name) for name in names) for one in said}) == len(said)


def test_of_parameters_that_vary_neither_seeds_nor_metrics_nor_counts_are_factors() -> None:
    said = [
        {"norm": norm, "seed": str(seed), "shuffle": str(seed * 7), "step": str(10 * n), "lr": "1"}
        for n, (norm, seed) in enumerate(itertools.product("ab", range(3)))
    ]
    assert varying_parameters(said, "seed") == ["norm"]
