"""The search for layers that crash or lie: cases that are drawn, and a judge.

`draw` makes a case out of choices, `judge` builds it, runs it and holds what comes against the plain
float64 formulas or against the refusal that is due. `test_search.py` lets Hypothesis choose, some
hundred cases in the process of the tests; `benchmarks/fuzz_layers.py` chooses by a seed, many
thousands in child processes.
"""

from tests.norms.search.cases import KINDS, Case, draw
from tests.norms.search.judge import GOOD, VERDICTS, Verdict, judge

__all__ = ["GOOD", "KINDS", "VERDICTS", "Case", "Verdict", "draw", "judge"]
