"""Do the images the model gets differ from the stored ones, by every augmentation declared?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from normlab.augment import Batch, Cutout, Pipeline, Transform
from normlab.recipe import Recipe, value_text
from normlab.records import Check
from normlab.train.liveness.watcher import Watcher

_IMAGES = 256  # of the first batches that every transform is tried on
_TRIES = 20
_PIXELS = 1 << 24
_PLAIN = 8192  # white images that the hidden area is measured on


class AugmentWatcher(Watcher):
    """Compares the real batches with the stored images, and tries every transform by itself.

    The transforms tried are the trial's own objects, with a generator of the watcher's: the trial's
    random stream is not touched.
    """

    def __init__(self, recipe: Recipe, pipeline: Pipeline) -> None:
        self.recipe, self.pipeline = recipe, pipeline
        self.changed = False
        self.copies: set[int] = set()
        self.shape: tuple[int, int, int] = (1, 1, 1)
        self.samples: list[Tensor] = []

    def batch(self, raw: Tensor, given: Tensor) -> None:
        """Once a batch was seen to differ, only its size is looked at."""
        self.copies.add(len(given) // len(raw))
        missing = _IMAGES - sum(map(len, self.samples))
        if missing > 0:
            self.samples.append(raw[:missing].clone())
        if not self.changed:
            self.changed = raw.shape != given.shape or not torch.equal(raw, given)

    def conclude(self) -> Iterator[Check]:
        """A finding for the batches, and one for every transform that is not at rest."""
        declared = [spec for spec in self.recipe.augment if not spec.off]
        images = [spec for spec in declared if spec.kind != "label_smoothing"]
        if images:
            kinds = ", ".join(spec.kind for spec in images)
            copies = self.pipeline.copies
            text = "differ from" if self.changed else "equal"
            yield Check(
                name="augment",
                declared=f"{kinds} on every batch" + (f", {copies} copies" if copies > 1 else ""),
                found=f"the model's images {text} the stored ones"
                + (f", {sorted(self.copies)} for each" if copies > 1 else ""),
                live=self.changed and self.copies == {copies},
            )
        done = {id(transform.spec): transform for transform in self.pipeline.transforms}
        for spec in declared:
            transform = done.get(id(spec))
            words = value_text(spec.model_dump(mode="json", exclude_defaults=True))
            if transform is None:
                yield Check(name="augment", declared=words, found="is not there", live=False)
            else:
                found, live = self._tried(transform)
                yield Check(name="augment", declared=words, found=found, live=live)

    def _tried(self, transform: Transform) -> tuple[str, bool]:  # type: ignore[type-arg]
        if isinstance(transform, Cutout):
            return self._hidden(transform)
        sample = torch.cat(self.samples)
        device = sample.device
        labels = torch.arange(len(sample), device=device) % self.pipeline.num_classes
        targets = torch.nn.functional.one_hot(labels, self.pipeline.num_classes).to(sample.dtype)
        batch = Batch(sample, labels, targets)
        source = torch.Generator(device).manual_seed(0)
        for _ in range(_TRIES):  # an augmentation may by chance change nothing
            after = transform(batch, source, self.pipeline.pixels)
            different = sum(
                not torch.equal(before, now)
                for before, now in zip(sample, after.images[: len(sample)], strict=False)
            )
            if different:
                break
        if not transform.mixes and transform.soft:  # acts on the targets alone
            assert after.targets is not None
            live = not torch.equal(after.targets, targets)
            return f"changes {'the' if live else 'no'} targets", live
        return f"changes {different} of {len(sample)} images", different > 0

    def _hidden(self, cutout: Cutout) -> tuple[str, bool]:
        first = self.samples[0]
        height, width = first.shape[2:]
        count = max(1, min(_PLAIN, _PIXELS // (height * width)) // cutout.copies)
        ones = first.new_ones(count, 1, height, width)
        labels = torch.zeros(count, dtype=torch.long, device=ones.device)
        source = torch.Generator(ones.device).manual_seed(0)
        after = cutout(Batch(ones, labels), source, self.pipeline.pixels)
        share = (after.images == 0).to(torch.float32).mean(dim=(1, 2, 3))
        mean, expected = float(share.mean()), cutout.expected(height, width)
        spread = 6 * float(share.std()) / math.sqrt(len(share))
        live = abs(mean - expected) <= spread + 1e-6 and (expected == 0 or mean > 0)
        return f"hides {mean:.4f} of an image on average, {expected:.4f} expected", live
