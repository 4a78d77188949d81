"""Hints name what the user meant, or nothing."""

from typing import Any

import pytest

from normlab.errors import UserError, nearest, unknown
from normlab.recipe import (
    AUGMENTATIONS,
    DATA,
    DROPOUTS,
    MODELS,
    NORMS,
    OPTIMIZERS,
    SCHEDULES,
    Recipe,
)
from normlab.study.ranges import Range
from normlab.study.spec import Study
from normlab.synonyms import _CALLED

KEYS = set(Recipe.model_fields)


@pytest.mark.parametrize(
    ("allowed", "name", "meant"),
    [
        *((NORMS, name, "batch") for name in (
            "batch_norm", "BatchNorm2d", "batchnorm", "BN", "nn.BatchNorm2d", "BatchNormalization",
            "Batch", "batch-norm", "batch_normalisation",
        )),
        (NORMS, "GroupNorm", "group"),
        (NORMS, "layer_norm", "layer"),
        (NORMS, "nn.InstanceNorm2d", "instance"),
        (NORMS, "RMSNorm", "rms"),
        (NORMS, "batch_renormalization", "batch_renorm"),
        (NORMS, "BatchRenorm", "batch_renorm"),
        (NORMS, "GhostBatchNorm", "ghost_batch"),
        (NORMS, "ghost_norm", "ghost_batch"),
        (NORMS, "SwitchableNorm", "switchable"),
        (NORMS, "frn", "filter_response"),
        (NORMS, "weight_standardization", "scaled_ws"),
        (NORMS, "EvoNormS0", "evonorm_s0"),
        (NORMS, "torch_batch_norm", "torch_batch"),
        (NORMS, "identity", "none"),
        (NORMS, "batsh", "batch"),
        (NORMS, "spectral_norm", None),
        (NORMS, "SyncBatchNorm", None),
        (OPTIMIZERS, "SGD", "sgd"),
        (OPTIMIZERS, "AdamW", "adamw"),
        (OPTIMIZERS, "adam_w", "adamw"),
        (OPTIMIZERS, "Adam optimizer", "adam"),
        (OPTIMIZERS, "nadam", None),
        (OPTIMIZERS, "RMSprop", None),
        (OPTIMIZERS, "Adagrad", None),
        (SCHEDULES, "CosineAnnealingLR", "cosine"),
        (SCHEDULES, "cosine_annealing", "cosine"),
        (SCHEDULES, "OneCycleLR", "one_cycle"),
        (SCHEDULES, "StepLR", "step"),
        (SCHEDULES, "ConstantLR", "constant"),
        (SCHEDULES, "MultiStepLR", None),
        (SCHEDULES, "CosineAnnealingWarmRestarts", None),
        (DATA, "fashion_mnist", "fashion-mnist"),
        (DATA, "FashionMNIST", "fashion-mnist"),
        (DATA, "CIFAR-10", "cifar10"),
        (DATA, "ImageFolder", "image-folder"),
        (DATA, "emnist", None),
        (MODELS, "resnet18", "resnet"),
        (DROPOUTS, "Dropout2d", "spatial_dropout"),
        (DROPOUTS, "dropblock", "drop_block"),
        (AUGMENTATIONS, "hflip", "horizontal_flip"),
        (AUGMENTATIONS, "RandomHorizontalFlip", "horizontal_flip"),
        (AUGMENTATIONS, "RandomCrop", "crop"),
        (AUGMENTATIONS, "cut_mix", "cutmix"),
        (["relu", "leaky_relu", "silu", "gelu"], "swish", "silu"),
        (["relu", "leaky_relu", "silu", "gelu"], "elu", None),
        (["cross_entropy", "mse"], "CrossEntropyLoss", "cross_entropy"),
        (KEYS, "learning_rate", "lr"),
        (KEYS, "num_epochs", "epochs"),
        (KEYS, "batchsize", "batch_size"),
        (KEYS, "lr_scheduler", "schedule"),
        (KEYS, "label_smoothing", "augment"),
        (KEYS, "dataset", "data"),
        (KEYS, "drop_path", "stochastic_depth"),
        (KEYS, "drop_last", None),
        (KEYS, "num_workers", None),
        (KEYS, "epoch", "epochs"),
        (["cat", "dog"], "dgo", "dog"),
    ],
)  # fmt: skip
def test_a_hint_is_what_was_meant(allowed: Any, name: str, meant: str | None) -> None:
    assert nearest(name, allowed) == meant


def test_a_hint_stands_in_the_message() -> None:
    assert unknown("kind", "BatchNorm2d", NORMS).startswith(
        "unknown kind 'BatchNorm2d'. Did you mean 'batch'? Allowed: batch, "
    )
    assert "Did you mean" not in unknown("optimizer", "nadam", OPTIMIZERS)


def test_no_synonym_points_to_a_name_that_is_gone() -> None:
    known = {*NORMS, *OPTIMIZERS, *SCHEDULES, *DATA, *MODELS, *DROPOUTS, *AUGMENTATIONS, *KEYS}
    known |= {
        *Study.model_fields,
        *Range.model_fields,
        "cross_entropy",
        "mse",
        "silu",
        "leaky_relu",
        "glorot",
    }
    known |= {"float32", "bfloat16", "float64"}
    assert set(_CALLED) <= known


def test_every_name_is_its_own_nearest() -> None:
    for catalog in (NORMS, OPTIMIZERS, SCHEDULES, DATA, MODELS, DROPOUTS, AUGMENTATIONS, KEYS):
        for name in catalog:
            assert nearest(name, catalog) == name
            assert nearest(name.upper(), catalog) == name


def test_a_study_file_s_kind_is_hinted_at() -> None:
    recipe = {"data": "digits", "model": "digits-small", "norm": "batch_norm"}
    with pytest.raises(UserError, match=r"unknown kind 'batch_norm'\. Did you mean 'batch'\?"):
        Recipe.parse(recipe)
