"""Compiles functions for this processor and keeps them, in the process and in a user's folder.

What is kept is an object file under a name made of all that decides it: the text of the code that
makes the function, its parameters, the processor, LLVM's version. It begins with its own digest, so
that a damaged file is made anew. Without a folder that can be written every process compiles.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from normlab.files import write_whole

_DIGEST = hashlib.sha256().digest_size
_engines: list[Any] = []  # what holds the code must stay alive


def is_there() -> bool:
    """Whether functions can be compiled: llvmlite is installed."""
    try:
        import llvmlite.binding  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def processor() -> tuple[str, str]:
    """The name LLVM has for this processor, and what it can do as far as torch makes use of it.

    `ATEN_CPU_CAPABILITY=avx2` holds torch to AVX2, and these functions with it.
    """
    import torch
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features()
    if features.get("avx512f") and torch.backends.cpu.get_cpu_capability() != "AVX512":
        for name in features:
            if name.startswith(("avx512", "avx10", "amx", "evex512")):
                features[name] = False
    wide = ",-prefer-256-bit" if features.get("avx512f") else ""
    return binding.get_host_cpu_name(), features.flatten() + wide


@cache
def lanes() -> int:
    """float32 numbers in a vector that pays here: 16 with AVX-512, else 8."""
    return 16 if "+avx512f" in processor()[1].split(",") else 8


@cache
def registers() -> int:
    """Vectors of that many lanes that fit into the registers."""
    return 32 if lanes() == 16 else 16


def function(name: str, key: tuple[object, ...], source: str, make: Callable[[str], str]) -> int:
    """The address of a function, compiled or loaded.

    Args:
        name: Of the function, for humans.
        key: Its parameters.
        source: A digest of the code that makes it.
        make: Makes the text of a module with one function of the name that it is given.
    """
    import llvmlite

    told = repr((name, key, source, processor(), llvmlite.__version__))
    digest = hashlib.sha256(told.encode()).hexdigest()[:40]
    symbol = f"{name}_{digest}"
    path = None if (folder := cache_folder()) is None else folder / f"{symbol}.o"
    found = None if path is None else _read(path)
    if found is None:
        found = _compiled(make(symbol))
        if path is not None:
            _write(path, found)
    return _loaded(found, symbol)


def cache_folder() -> Path | None:
    """Where compiled functions are kept; `NORMLAB_CACHE` names another place, empty for none."""
    named = os.environ.get("NORMLAB_CACHE")
    if named is not None:
        return Path(named) / "kernels" if named else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        base = str(Path("~/Library/Caches").expanduser())
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "normlab" / "kernels" if base else None


def digest_of(*files: Path) -> str:
    """A digest of the text of files."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _compiled(text: str) -> bytes:
    from llvmlite import binding

    machine = _machine()
    module = binding.parse_assembly(text)
    module.verify()
    # The loops are written as they are to run: LLVM only keeps variables in registers.
    tuning: Any = binding.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False
    builder: Any = binding.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


@cache
def _machine() -> Any:
    from llvmlite import binding

    name, features = processor()
    target: Any = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault"
    )


def _loaded(code: bytes, symbol: str) -> int:
    from llvmlite import binding

    engine: Any = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine_of_engine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(symbol))


def _machine_of_engine() -> Any:
    """An engine owns its machine: each has one."""
    from llvmlite import binding

    name, features = processor()
    target: Any = binding.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, codemodel="jitdefault")


def _read(path: Path) -> bytes | None:
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    code = kept[_DIGEST:]
    return code if hashlib.sha256(code).digest() == kept[:_DIGEST] else None


def _write(path: Path, code: bytes) -> None:
    """Keep a file, whole or not at all; without the right to, do without."""
    with suppress(OSError):
        write_whole(path, hashlib.sha256(code).digest() + code)
