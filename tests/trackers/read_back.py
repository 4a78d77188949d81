"""Prints what `read_runs` reads of a source, as JSON: `read_back.py SOURCE`."""

import dataclasses
import json
import sys
from pathlib import Path

from normlab.trackers.read import read_runs

found = dataclasses.asdict(read_runs(Path(sys.argv[1])))
sys.stdout.write(json.dumps(found, default=str))
