"""The wheel does what the checkout does: built, looked through, installed, and the demo run from it.

    python benchmarks/wheel.py                       # make wheel
    python benchmarks/wheel.py --python python3.13 --dependencies

Everything is made in a temporary folder: the sdist, the wheel that is built from it, an environment
that holds the wheel, and an empty folder in which the demo study runs. The environment borrows the
packages of the one that runs this, but not its normlab; with --dependencies it gets its own, from
the package index, as whoever installs normlab does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="the Python of the environment")
    parser.add_argument("--dependencies", action="store_true", help="install them too")
    parser.add_argument("--study", default="digits-norms", help="what is run, its quick variant")
    options = parser.parse_args()
    # Nothing of the checkout may be found by chance.
    os.environ.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="normlab-wheel-") as made:
        folder = Path(made)
        wheel = build(folder)
        check_contents(wheel)
        python = environment(folder / "env", options.python, wheel, own=options.dependencies)
        run_demo(folder, python, options.study)


def build(folder: Path) -> Path:
    """The sdist, then the wheel from what is in the sdist."""
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "tools", "build")
    tools = {**os.environ, "PYTHONPATH": str(folder / "tools")}
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", ROOT, env=tools)
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    missing = {name for name in tracked("") if not name.startswith(".")} - inside
    assert not missing, sorted(missing)
    return wheel


def check_contents(wheel: Path) -> None:
    """Every file of the package is in the wheel, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {name.removeprefix("src/") for name in tracked("src/normlab")}
    assert inside == expected, sorted(inside ^ expected)
    say(f"{wheel.name}: {len(inside)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def tracked(part: str) -> list[str]:
    """What git knows in a folder of the checkout, new files too."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", part or "."]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def environment(place: Path, python: str, wheel: Path, *, own: bool) -> Path:
    """An environment with the wheel in it."""
    run(python, "-m", "venv", place)
    made = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, *([] if own else ["--no-deps"]), wheel)
    if own:
        run(made, "-m", "pip", "check", "--disable-pip-version-check")
    else:
        # A folder named in a .pth file is searched, but its own .pth files (ours) are not read.
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.run([made, "-c", code], check=True, capture_output=True, text=True)
        borrowed = Path(packages.stdout.strip(), "borrowed.pth")
        borrowed.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return made


def run_demo(folder: Path, python: Path, study: str) -> None:
    """The study in an empty folder, with no cache or settings of the user's."""
    empty = folder / "empty"
    empty.mkdir()
    places = {"NORMLAB_CACHE": str(folder / "cache"), "NORMLAB_CONFIG": str(folder / "config")}
    env = {**os.environ, **places}
    code = "import normlab, pathlib; print(pathlib.Path(normlab.__file__).parents[1])"
    found = subprocess.run(
        [python, "-c", code], cwd=empty, check=True, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()).is_relative_to(folder), found.stdout
    normlab = python.with_name("normlab")
    demo = ["run", study, "--quick", "--workers", "1"]
    for words in (["list"], ["show", "study", study], ["published", "mnist-norms"], demo):
        run(normlab, *words, cwd=empty, env=env, stdout=subprocess.DEVNULL)
    assert (empty / "runs" / study / "report.html").is_file()
    say(f"{study} ran from the wheel")


def run(*words: str | Path, **options: object) -> None:
    say("$ " + " ".join(map(str, words)))
    subprocess.run([str(word) for word in words], check=True, **options)  # type: ignore[call-overload]


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
