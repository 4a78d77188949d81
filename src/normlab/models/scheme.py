"""The scheme of a built model: which blocks it has, with their slots, and how they follow.

Everything is read off the modules that training uses. What a module cannot say of itself is a norm
that `norm_slots` leaves out, as nothing stands in its place: it is seen in a twin of the model
whose slots all have the norm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from normlab.errors import UserError
from normlab.models.build import MODELS, build
from normlab.models.parts import ACTIVATION_TYPES, EMPTY_NORM, convolution_text, parts_of
from normlab.models.residual import ResidualBlock, ZeroPad
from normlab.models.table import LayerRow, layer_table
from normlab.norms import NoNorm, is_norm
from normlab.recipe import Recipe, with_value
from normlab.records.scheme import Block, Part, Parts, Run, Scheme
from normlab.regularizers import RandomLayer

_Named = list[tuple[str, nn.Module]]


def scheme(recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> Scheme:
    """Blocks, slots and their order in a recipe's model, which is built without values.

    Args:
        recipe: Whose model, one of normlab's.
        shape: (C, H, W) of an image.
        num_classes: How many classes there are.

    Raises:
        UserError: The model is the user's own, or cannot be built as asked.
    """
    if recipe.model.kind not in MODELS:
        raise UserError(
            f"model '{recipe.model.kind}' is yours: only the blocks of normlab's models are known, "
            f"which are {', '.join(MODELS)}"
        )
    model = build(recipe, shape, num_classes, device="meta").model
    table = layer_table(model, shape)
    twin = _twin(recipe, shape, num_classes) or model
    runs: list[Run] = []
    kinds: dict[Block, Block] = {}
    keys: list[Block | None] = []
    pieces = _pieces(model.get_submodule("layers"))
    twins = _pieces(twin.get_submodule("layers"))
    for (names, layers), (_, full) in zip(pieces, twins, strict=True):
        made = _last(table, names)
        if made is None and not runs:
            continue
        channels, size = (made.channels, made.map_size) if made else _of(runs[-1])
        block = _block(layers, full, channels)
        key, what = (block.kind, block.name) if block else (None, _single(layers))
        if block and key:
            kinds[key] = kinds[key].spread(block) if key in kinds else block
        last = runs[-1] if runs else None
        if last and keys[-1] == key and block and (channels, size) == _of(last):
            runs[-1] = replace(last, count=last.count + 1)
        else:
            runs.append(Run(what, block is not None, 1, channels, size))
            keys.append(key)
    names_of = _unique(list(kinds))
    named = [
        replace(run, what=names_of[key]) if key else run
        for run, key in zip(runs, keys, strict=True)
    ]
    blocks = tuple(replace(block, name=names_of[key]) for key, block in kinds.items())
    return Scheme(shape, num_classes, tuple(named), blocks)


def _twin(recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> nn.Module | None:
    """The model whose slots all have the norm; None where that is itself, or cannot be."""
    field = type(recipe.model).model_fields.get("norm_slots")
    if field is None:
        return None
    most = max(limit.le for limit in field.metadata if hasattr(limit, "le"))
    full = Recipe.parse(with_value(recipe.canonical(), "model.norm_slots", most))
    try:
        return build(full, shape, num_classes, device="meta").model
    except UserError:  # a norm that contains its activation has no place in these blocks
        return None


def _pieces(layers: nn.Module) -> list[tuple[list[str], _Named]]:
    """What a model is made of: names and layers of each stem, block, or layer of its own.

    A plain net is cut in front of each of its convolutions.
    """
    found: list[tuple[list[str], _Named]] = []
    for name, module in layers.named_children():
        if isinstance(module, nn.Sequential):
            inside = list(module.named_children())
            if any(isinstance(child, ResidualBlock) for _, child in inside):
                found += [([f"{name}.{each}."], [(each, child)]) for each, child in inside]
            else:
                found.append(([f"{name}."], inside))
        elif _behind(module) and found and isinstance(found[-1][1][0][1], nn.Conv2d):
            found[-1][0].append(name)
            found[-1][1].append((name, module))
        elif not isinstance(module, nn.Flatten | nn.Identity):
            found.append(([name], [(name, module)]))
    return found


def _behind(module: nn.Module) -> bool:
    """Whether a layer of a plain net belongs to the convolution in front of it."""
    if isinstance(module, nn.Conv2d):
        return False
    return is_norm(module) or isinstance(module, (NoNorm, RandomLayer, *ACTIVATION_TYPES))


def _last(table: Sequence[LayerRow], names: Sequence[str]) -> LayerRow | None:
    """The last row of the layers of these names, or in the containers that end in a dot."""
    rows = [row for row in table if any(_is_in(row.name, name) for name in names)]
    return rows[-1] if rows else None


def _is_in(row: str, name: str) -> bool:
    return row.startswith(name) if name.endswith(".") else row == name


def _of(run: Run) -> tuple[int, int]:
    return run.channels, run.map_size


def _single(layers: _Named) -> str:
    """One layer that is no block, in words."""
    (_, module), *_ = layers
    if isinstance(module, nn.Linear):
        return "linear layer"
    if isinstance(module, nn.Conv2d):
        return convolution_text(module)
    return next(parts_of(module, "", 1)).text


def _block(layers: _Named, full: _Named, channels: int) -> Block | None:
    """A block of these layers; None where they are a single layer."""
    (_, first), (_, whole) = layers[0], full[0]
    if isinstance(first, ResidualBlock) and isinstance(whole, ResidualBlock):
        shortcut = _row(first.shortcut, whole.shortcut, channels)
        name = "zero-padding block" if isinstance(first.shortcut, ZeroPad) else "identity block"
        return Block(
            "projection block" if first.projects else name,
            _row(first.enter, whole.enter, channels),
            _row(first.branch, whole.branch, channels),
            shortcut,
            tuple(parts_of(first.leave, "", channels)),
            first.projects,
        )
    if len(layers) == 1:
        return None
    if not any(isinstance(module, nn.Conv2d) for _, module in layers):
        return Block("end of the blocks", (), _merged(layers, full, channels), None, ())
    if layers[0][0] == "conv":
        return Block("stem", (), _merged(layers, full, channels), None, ())
    # The slots of a plain net are numbered through it; its blocks are alike but for that.
    made = [part for _, module in layers for part in parts_of(module, "", channels)]
    return Block("convolution block", (), tuple(made), None, ())


def _row(part: nn.Module, whole: nn.Module, channels: int) -> Parts:
    """The parts of a place in a block, with the slots that only the twin has."""
    if isinstance(part, ZeroPad):
        return tuple(parts_of(part, "", channels))
    return _merged(list(part.named_children()), list(whole.named_children()), channels)


def _merged(layers: _Named, full: _Named, channels: int) -> Parts:
    ours, made = dict(layers), list[Part]()
    for name, module in full:
        if name in ours:
            made += parts_of(ours[name], name, channels)
        elif is_norm(module) or isinstance(module, NoNorm):
            made.append(EMPTY_NORM)
            active = ours.get(name.replace("norm", "activation"))
            made += parts_of(active, name, channels) if active is not None else ()
    return tuple(made)


def _unique(kinds: Sequence[Block]) -> dict[Block, str]:
    """A name for each kind; where several have the same one they are numbered."""
    several = Counter(kind.name for kind in kinds)
    seen: Counter[str] = Counter()
    names = {}
    for kind in kinds:
        seen[kind.name] += 1
        number = f" {seen[kind.name]}" if several[kind.name] > 1 else ""
        names[kind] = kind.name + number
    return names
