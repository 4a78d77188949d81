"""What a case is, and how one is drawn.

A case says in plain words and numbers how a layer is made, what is done to it, and which map it gets,
so that a line of JSON repeats it. Most fields of a drawn case are plain; a few are odd.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar

from normlab.norms import ACTIVATIONS, NORMS, make
from normlab.norms.conformance.definitions import DEFINITIONS

# Not torch's own layers: they are no code of ours, and some cases end the process in them too.
KINDS = tuple(kind for kind in NORMS if not kind.startswith("torch_"))

T = TypeVar("T")
Choose = Callable[[Sequence[Any]], Any]

DTYPES = ("float32", "float64", "bfloat16", "float16")
NO_FLOATS = ("uint8", "int64", "bool", "complex64")

LAYOUTS = (
    "contiguous", "channels_last", "strided", "padded_rows", "some_channels", "every_other_image",
    "transposed", "channels_first", "offset", "some_channels_last", "offset_channels_last",
    "expanded_images", "expanded_channels", "expanded_pixels", "negated", "parameter", "subclass",
    "sparse", "mkldnn",
)  # fmt: skip

WRONG_SIZES = ("short", "long", "one", "empty")
ODD_STATE = (
    *WRONG_SIZES, "matrix", "scalar", "strided", "expanded", "offset", "negated", "double",
    "float", "half", "integer", "complex", "meta", "none", "plain", "made", "parametrized",
)  # fmt: skip
BUFFER_STATE = tuple(s for s in ODD_STATE if s not in {"plain", "made", "parametrized"})
COUNTER_STATE = ("none", "int32", "float", "meta", "vector")

IMAGES = (4, 2, 1, 3, 5, 8, 9, 0)
SIDES = (5, 1, 2, 3, 4, 7, 8, 0)


@dataclass(frozen=True)
class Case:
    """One thing that is tried.

    Attributes:
        kind: Name in the catalog.
        options: Arguments of the layer; `progress` is set after it is made.
        activation: Put behind the layer: a name of the catalog, `capped` (a subclass of ReLU) or
            `in_place`.
        channels: C.
        shape: N, H and W of the map.
        rank: `map` is (N, C, H, W); `image`, `volume` and `vector` have other numbers of dimensions,
            `more_channels` and `fewer_channels` another C.
        dtype: Of the map.
        layout: How the map lies in memory.
        values: `normal`, `offset` (mean 100), `constant`, `nan`, `infinite`, `huge` (1e18).
        device: Of the map: cpu, or meta for any that no loop of the CPU can read.
        layer_device: Of the layer.
        layer_dtype: Of the layer; empty for the map's.
        state: What is odd about a parameter or buffer, by name.
        training: Mode of the layer.
        grad: `backward`, `create_graph` (second derivatives as well), `no_grad`, `inference`,
            `inference_input` (a map made in inference mode).
        frozen: What needs no gradient: parameters by name, the map as `input`.
        dy: How the gradient handed to backward lies.
        saved: What hooks on saved tensors give back.
        hook: A hook on the layer or on its activation.
        call: `direct`, or `functional` for torch.func.functional_call with plain tensors.
        warm: Maps (N, H, W) the layer sees before; each is judged.
        late: Whether what is odd is done after those maps.
        changes: Attributes set after those maps.
        between: What happens between forward and backward.
        first: A mode or transform under which another such layer runs before.
        default: What torch makes tensors of while the layer runs: `meta` or `float64`; empty for
            what it does by itself.
        threads: torch's number of threads.
        seed: Of all numbers.
    """

    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    activation: str = ""
    channels: int = 6
    shape: tuple[int, int, int] = (4, 5, 5)
    rank: str = "map"
    dtype: str = "float32"
    layout: str = "contiguous"
    values: str = "normal"
    device: str = "cpu"
    layer_device: str = "cpu"
    layer_dtype: str = ""
    state: dict[str, str] = field(default_factory=dict)
    training: bool = True
    grad: str = "backward"
    frozen: tuple[str, ...] = ()
    dy: str = "alike"
    saved: str = ""
    hook: str = ""
    call: str = "direct"
    warm: tuple[tuple[int, int, int], ...] = ()
    late: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    between: str = ""
    first: str = ""
    default: str = ""
    threads: int = 1
    seed: int = 0

    def line(self) -> str:
        """JSON of all that is not plain: what repeats the case."""
        plain = {
            f.name: f.default if f.default_factory is MISSING else f.default_factory()
            for f in fields(self)
        }
        return json.dumps({k: v for k, v in asdict(self).items() if v != plain[k]})

    @classmethod
    def of(cls, line: str) -> Case:
        """The case of a line."""
        given = json.loads(line)
        tuples = {"shape", "frozen"} & given.keys()
        given |= {name: tuple(given[name]) for name in tuples}
        given["warm"] = tuple(tuple(shape) for shape in given.get("warm", ()))
        return cls(**given)


def draw(choose: Choose, kinds: Sequence[str] = KINDS) -> Case:
    """A case out of choices: `choose` picks one of a sequence, whose first is the plainest."""

    def odd(plain: T, others: Sequence[T], one_in: int) -> T:
        """The plain one, but for one time in so many."""
        if choose(range(one_in)) == one_in - 1:
            return choose([plain, *others])  # type: ignore[no-any-return]
        return plain

    kind = choose(kinds)
    definition = DEFINITIONS[kind]
    options = dict(choose(definition.settings))
    takes = inspect.signature(NORMS[kind]).parameters
    if "eps" in takes:
        options |= odd({}, [{"eps": 0.1}, {"eps": 1e-3}, {"eps": 1e-8}], 6)
    if "affine" in takes and "affine" not in options:
        options |= odd({}, [{"affine": False}], 8)
    if "momentum" in takes and options.get("running") != "per_split":
        momenta = [{"momentum": value} for value in (0.5, 1.0, 0.0)]
        if kind != "evonorm_b0":
            momenta.append({"momentum": None})
        options |= odd({}, momenta, 5)
    activation = ""
    if not definition.contains_activation:
        names = ["", "relu", "", "relu", *ACTIVATIONS, "capped"]
        # What stands for no norm hands the map itself to its activation.
        activation = choose(names if kind == "none" else [*names, "in_place"])

    channels = odd(6, (12, 24, 3), 4)
    if options.get("groups") == 2 and channels == 3:
        channels = 6
    sizes = odd(
        (choose(IMAGES[:-1]), choose(SIDES[:-1]), choose(SIDES[:-1])),
        [(0, 5, 5), (4, 0, 5), (4, 5, 0), (8, 24, 24), (4, 1, 1), (64, 2, 2), (1, 1, 1)],
        5,
    )
    dtype = odd(choose(("float32", "float32", *DTYPES)), NO_FLOATS, 30)
    half = dtype in {"bfloat16", "float16"}
    training = choose((True, True, False))

    plain = make(kind, channels, **{k: v for k, v in options.items() if k != "progress"})
    parameters = [name for name, _ in plain.named_parameters(recurse=False)]
    buffers = [name for name, _ in plain.named_buffers(recurse=False)]
    state: dict[str, str] = {}
    for _ in range(odd(0, (1, 1, 1, 2), 2)):
        if not parameters and not buffers:
            break
        name = choose([*parameters, *buffers])
        kinds = ODD_STATE if name in parameters else BUFFER_STATE
        state[name] = choose(COUNTER_STATE if name == "num_batches_tracked" else kinds)

    grad = choose(("backward", "backward", "backward", "create_graph", "no_grad", "inference"))
    warm = odd((), [((4, 5, 5),), ((4, 5, 5), (3, 4, 4)), ((2, 3, 3), sizes), (sizes,)], 2)
    hooks = ["layer_seen", "layer_changed"]
    if activation:
        hooks += ["activation_seen", "activation_changed", "activation_before"] * 2
    return Case(
        kind=kind,
        options=options,
        activation=activation,
        channels=channels,
        shape=sizes,
        rank=odd("map", ("image", "volume", "vector", "more_channels", "fewer_channels"), 25),
        dtype=dtype,
        layout=choose(("contiguous", "channels_last", *odd(LAYOUTS[:2], (LAYOUTS,), 2))),
        values=odd("normal", ("offset", "constant", "nan", "infinite", "huge"), 6),
        device=odd("cpu", ("meta",), 20),
        layer_device=odd("cpu", ("meta",), 20),
        layer_dtype=odd("float32" if half and choose((True, False)) else "", DTYPES, 15),
        state=state,
        training=training,
        grad=odd(grad, ("inference_input",), 20),
        frozen=tuple(odd((), [("input",), tuple(parameters), ("weight",), ("bias",)], 6)),
        dy=odd(
            "alike",
            ("contiguous", "channels_last", "expanded", "strided", "double", "negated", "zero", "meta"),
            2,
        ),
        saved=odd("", ("copied", "numpy", "channels_last", "strided", "double", "half", "meta", "cropped"), 5),
        hook=odd("", hooks, 5),
        call=odd("direct", ("functional",), 8),
        warm=tuple(warm),
        late=bool(warm) and choose((True, False)),
        changes=odd({}, _changes(kind, options, channels), 4) if warm else {},
        between=odd(
            "",
            ("mode", "moved", "replaced", "weight_in_place", "input_in_place", "eps", "activation", "buffers_in_place"),
            5,
        ),
        first=odd("", ("fake", "meta_default", "jvp", "per_image", "functionalize"), 12),
        default=odd("", ("meta", "float64"), 15),
        threads=choose((1, 2)),
        seed=choose(range(1000)),
    )  # fmt: skip


def _changes(kind: str, options: dict[str, Any], channels: int) -> list[dict[str, Any]]:
    """Attributes of a kind that a user may set on a layer that has run."""
    if kind == "none":
        return [{"activation": "silu"}]
    found: list[dict[str, Any]] = [{"eps": 0.5}]
    if not DEFINITIONS[kind].contains_activation:
        found += [{"activation": ""}, {"activation": "silu"}, {"activation": "relu"}]
    if kind in {"group", "evonorm_s0"}:
        found += [{"groups": 1}, {"groups": channels}, {"groups": channels // 3}]
    if "splits" in options:
        found += [{"splits": 1}, {"splits": 4}]
    if "ghost_size" in options:
        found += [{"ghost_size": 1}, {"ghost_size": 2}]
    if "running" in options:
        found += [{"running": "per_batch"}]
    if "momentum" in inspect.signature(NORMS[kind]).parameters:
        found += [{"momentum": 0.7}]
    if kind == "batch_renorm":
        found += [{"progress": 0.9}, {"rmax": 1.5, "progress": 1.0}]
    return found
