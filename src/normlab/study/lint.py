"""What a study does that its author may not mean: a linter of plans. None of it is an error.

Each rule has a card in `docs/lint.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from normlab.norms import PooledNorm, Traits, traits
from normlab.recipe import Recipe, value_text
from normlab.study.plan import Arm, Plan
from normlab.train.schedule import acts
from normlab.train.stopping import can_stop

_SMALL = 8  # images whose statistics are mostly noise


class Rule(NamedTuple):
    """Something to look for in a plan.

    Attributes:
        check: From a plan to a sentence for each place.
        why: What it does to a result.
        reference: Where that was shown.
    """

    check: Callable[[Plan], Iterable[str]]
    why: str
    reference: str


class Finding(NamedTuple):
    """One place where a rule found something.

    Attributes:
        rule: The rule's name.
        says: The place in a sentence.
    """

    rule: str
    says: str

    @property
    def why(self) -> str:
        """What it does to a result."""
        return RULES[self.rule].why

    @property
    def reference(self) -> str:
        """Where that was shown."""
        return RULES[self.rule].reference


def lint(plan: Plan) -> list[Finding]:
    """Everything that looks like a confound or a slip in a plan."""
    found = (Finding(name, says) for name, rule in RULES.items() for says in rule.check(plan))
    return list(dict.fromkeys(found))


def ghost_size(arm: Arm) -> int | None:
    """Images in a split of a batch, where an arm's norm takes statistics from splits."""
    if not isinstance(arm.model.norm, PooledNorm):
        return None
    images = arm.model.norm.pooling(arm.recipe.batch_size, 2).images
    return images[0] if isinstance(images, tuple) else None


def _traits(arm: Arm) -> Traits:
    return Traits() if arm.model.norm is None else traits(arm.model.norm)


def _seeds(plan: Plan) -> Iterator[str]:
    if len(plan.study.seeds) < 2:
        yield "one seed: no interval, and no claim can be settled"


def _updates(plan: Plan) -> Iterator[str]:
    alike: dict[tuple[float, int], set[int]] = {}
    for arm in plan.arms:
        recipe = arm.recipe
        alike.setdefault((recipe.lr, recipe.epochs), set()).add(recipe.batch_size)
    for sizes in alike.values():
        if len(sizes) > 1:
            yield (
                f"batch sizes {_listed(sorted(sizes))} share one learning rate and number of "
                "epochs: their arms also differ in the number of updates and in the noise of each"
            )


def _selection(plan: Plan) -> Iterator[str]:
    without = [arm.label for arm in plan.arms if not arm.recipe.validation]
    if without:
        yield f"no validation images ({_listed(without)}): only the test images could select"


def _stopping(plan: Plan) -> Iterator[str]:
    rules = {arm.label: arm.recipe.early_stopping for arm in plan.arms}
    on_train = [label for label, rule in rules.items() if rule.patience and rule.split == "train"]
    if on_train:
        yield f"training stops by its own scores ({_listed(on_train)}), which overfitting improves"


def _batches(plan: Plan) -> Iterator[str]:
    for arm in plan.arms:
        recipe, of = arm.recipe, _traits(arm)
        if of.uses_batch_statistics and not of.suits_small_batches:
            images = _copies(recipe) * (ghost_size(arm) or recipe.batch_size)
            if images < _SMALL:
                kind = recipe.norm.kind
                yield f"{arm.label}: {kind} norm takes its statistics from {images} images"


def _copies(recipe: Recipe) -> int:
    """How often an image stands in a batch."""
    return math.prod(getattr(spec, "copies", 1) for spec in recipe.augment)


def _last_batch(plan: Plan) -> Iterator[str]:
    last: dict[tuple[int, int], list[str]] = {}
    for arm in plan.arms:
        if _traits(arm).uses_batch_statistics:
            copies = _copies(arm.recipe)
            size, left = copies * arm.recipe.batch_size, copies * arm.smallest_batch
            if left < min(size, _SMALL):
                last.setdefault((size, left), []).append(arm.label)
    for (size, left), labels in last.items():
        images = "1 image" if left == 1 else f"{left} images"
        yield f"the last batch of an epoch has {images}, not {size} ({_listed(labels)})"


def _dropout(plan: Plan) -> Iterator[str]:
    arms = (arm for arm in plan.arms if _traits(arm).uses_batch_statistics)
    found = [arm.label for arm in arms if arm.model.drops_before_norm]
    if found:
        yield f"dropout stands before norms with batch statistics ({_listed(found)})"


def _groups(plan: Plan) -> Iterator[str]:
    for arm in plan.arms:
        if hasattr(arm.recipe.norm, "groups") and any(
            "groups" in note for note in arm.record.notes
        ):
            yield f"{arm.label}: not every layer can have the groups it should: see its notes"


def _ghost_confound(plan: Plan) -> Iterator[str]:
    batches = {arm.recipe.batch_size for arm in plan.arms if arm.recipe.norm.kind == "batch"}
    for arm in plan.arms:
        size, batch = ghost_size(arm), arm.recipe.batch_size
        if size is not None and batch not in batches and size in batches:
            yield (
                f"{arm.label}: ghosts of {size} images in batches of {batch} beside batch norm at "
                f"{size}: the same noise of statistics, fewer updates"
            )


def _ghost_sizes(plan: Plan) -> Iterator[str]:
    for arm in plan.arms:
        size, batch = ghost_size(arm), arm.recipe.batch_size
        if size is not None and batch % size:
            yield f"{arm.label}: the last ghost of a batch has {batch % size} images, not {size}"


def _tuned(plan: Plan) -> Iterator[str]:
    for key in ("lr", "schedule", "optimizer"):
        own = {arm.label for arm in plan.arms if any(_root(k) == key for k in arm.levels)}
        base = [getattr(arm.recipe, key) for arm in plan.arms if arm.label not in own]
        some = [a.label for a in plan.arms if a.label in own and getattr(a.recipe, key) not in base]
        if some and base:
            yield f"only some arms have {key} of their own ({_listed(some)})"


def _root(key: str) -> str:
    """The part of a recipe that a level's key is about."""
    return "optimizer" if key in {"momentum", "nesterov"} else key.partition(".")[0]


def _penalties(plan: Plan) -> Iterator[str]:
    for key in ("l1", "l2", "weight_decay"):
        penalties = {
            arm.label: getattr(arm.recipe, key) for arm in plan.arms if arm.model.has_gains
        }
        found = [label for label, p in penalties.items() if p.strength and "norm_gain" in p.roles]
        if found:
            yield f"{key} acts on the norms' gains too ({_listed(found)})"


def _no_effect(plan: Plan) -> Iterator[str]:
    """What is declared and cannot do anything in the training as it is planned."""
    found: dict[str, list[str]] = {}
    for arm in plan.arms:
        for says in _at_rest(arm.recipe, arm.images):
            found.setdefault(says, []).append(arm.label)
    for says, labels in found.items():
        yield f"{says} ({_listed(labels)})"


def _at_rest(recipe: Recipe, images: int) -> Iterator[str]:
    epochs, stops, schedule = recipe.epochs, recipe.early_stopping, recipe.schedule
    within = f"within {epochs} epoch" + ("s" if epochs > 1 else "")
    if schedule.kind != "constant" and not acts(
        recipe, epochs, math.ceil(images / recipe.batch_size)
    ):
        text = value_text(schedule.model_dump(mode="json", exclude_defaults=True))
        yield f"schedule {text} never changes the learning rate {within}"
    if stops.patience and not can_stop(stops, epochs):
        yield f"early_stopping never acts: its patience of {stops.patience} cannot run out {within}"
    if recipe.batch_size > images:
        yield (
            f"batch_size {recipe.batch_size} is more than all {images:,} training images: an epoch "
            "is one step, as with any size from there on"
        )


def _contrasts(plan: Plan) -> Iterator[str]:
    """Two sides of a claim that differ in more than one factor, and no confound is stated."""
    levels = {arm.label: arm.levels for arm in plan.arms}
    for claim in plan.record.judged:
        if len(claim.sides) != 2:
            continue
        first, second = claim.sides
        keys = dict.fromkeys(key for label in (*first, *second) for key in levels[label])
        different = [k for k in keys if _values(levels, first, k) != _values(levels, second, k)]
        if len(different) > 1 and not claim.confound:
            yield f"claim {claim.name}: its sides differ in {_listed(different)} at once"


def _values(levels: Mapping[str, Mapping[str, object]], arms: Sequence[str], key: str) -> list[str]:
    return sorted({str(levels[label].get(key)) for label in arms})


def _listed(values: Iterable[object], most: int = 4) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


RULES: dict[str, Rule] = {
    "one-seed": Rule(
        _seeds,
        "repeats of one setting differ by as much as the settings that are compared",
        "Bouthillier et al. 2021, arXiv:2103.03098",
    ),
    "unequal-updates": Rule(
        _updates,
        "a difference may come from the number of updates, not from what the study compares",
        "Smith et al. 2018, arXiv:1711.00489; Shallue et al. 2019, arXiv:1811.03600",
    ),
    "own-learning-rate": Rule(
        _tuned,
        "an arm that was tuned beats arms that were not, whatever it tests",
        "Sivaprasad et al. 2020, arXiv:1910.11758",
    ),
    "no-validation": Rule(
        _selection,
        "whoever picks an epoch or an arm by the test images reports a biased accuracy",
        "Cawley & Talbot 2010, JMLR 11:2079-2107",
    ),
    "stops-by-train": Rule(
        _stopping,
        "the training loss keeps falling while the model overfits",
        "Prechelt 1998, Early stopping - but when?",
    ),
    "small-batch": Rule(
        _batches,
        "statistics of a few images are noisy, and differ from those that evaluation uses",
        "Wu & He 2018, arXiv:1803.08494; Ioffe 2017, arXiv:1702.03275",
    ),
    "last-batch": Rule(
        _last_batch,
        "its statistics are noisy, yet count in the running ones as much as those of a full batch",
        "Wu & Johnson 2021, arXiv:2105.07576",
    ),
    "dropout-before-batch-norm": Rule(
        _dropout,
        "dropout raises the variance in training only: in evaluation the running variance is wrong",
        "Li et al. 2019, arXiv:1801.05134",
    ),
    "groups": Rule(
        _groups,
        "groups must divide the channels; with another number of groups a layer is another norm",
        "Wu & He 2018, arXiv:1803.08494",
    ),
    "ghost-confound": Rule(
        _ghost_confound,
        "the batch statistics match and the updates do not, so more than the norm differs",
        "Hoffer et al. 2017, arXiv:1705.08741; Summers & Dinneen 2020, arXiv:1906.03548",
    ),
    "uneven-ghosts": Rule(
        _ghost_sizes,
        "one ghost's statistics are noisier than the others'",
        "Hoffer et al. 2017, arXiv:1705.08741",
    ),
    "penalty-on-norms": Rule(
        _penalties,
        "before a norm the size of the weights does not change the output, that of the gains does",
        "van Laarhoven 2017, arXiv:1706.05350; Zhang et al. 2019, arXiv:1810.12281",
    ),
    "no-effect": Rule(
        _no_effect,
        "an arm whose change never acts is the arm without it: no claim can compare the two",
        "for example bshall/Tacotron on GitHub, issue 3",
    ),
    "two-at-once": Rule(
        _contrasts,
        "the claim names one of them, and the difference may come from the other",
        "Lipton & Steinhardt 2018, arXiv:1807.03341",
    ),
}
"""Name -> rule, in the order of their findings."""
