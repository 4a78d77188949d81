"""The outputs of `normlab profile` in docs/performance.md, from the commands themselves.

    python docs/profiles.py     # run each command that the page names, write its output there

Run it on a machine that does nothing else, with `NORMLAB_DATA` set to where the images are. An
output stands between `<!-- output of: COMMAND -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "performance.md"
OUTPUT = re.compile(r"(<!-- output of: normlab (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(found: re.Match[str]) -> str:
    begin, words, end = found.groups()
    ran = subprocess.run(
        [sys.executable, "-m", "normlab", *words.split()],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = "\n".join(line.rstrip() for line in ran.stdout.splitlines())
    return f"{begin}```text\n{lines}\n```\n{end}"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(OUTPUT.sub(written, text), encoding="utf-8")


if __name__ == "__main__":
    main()
