"""What the command line says where several runs share a study."""

import json
from pathlib import Path
from typing import Any

import pytest

from normlab.store import Store
from normlab.store.presence import CAN_SHARE

SMALL = "question: q\nbase: {data: digits, model: digits-small, epochs: 1}\nseeds: 1\n"


@pytest.mark.skipif(not CAN_SHARE, reason="runs share a folder where locks can be")
def test_a_run_beside_others_leaves_them_the_report_and_status_counts_them(
    normlab: Any, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(SMALL)
    folder = tmp_path / "runs" / "s"
    with Store.join(folder) as one:
        one.let_in()
        with Store.join(folder):
            code, out, _ = normlab("run", "s.yaml", "--workers", "1")
            assert (code, "trained 1 trial; of 1: 1 complete" in out) == (0, True)
            assert "report: not yet: 2 other runs of this study in the same folder" in out
            assert not (folder / "report.html").exists()
            assert "\n2 runs are at work\n" in normlab("status", "s.yaml")[1]
            assert json.loads(normlab("status", "s.yaml", "--json")[1])["at_work"] == 2
            for option in ("--retrain-lost", "--same-machine"):
                code, _, err = normlab("run", "s.yaml", option)
                assert (code, "another run is writing" in err) == (2, True)
            code, _, err = normlab("run", "s.yaml", "--seeds", "2")
            assert (code, err) == (0, "")
    assert normlab("run", "s.yaml", "--workers", "1")[0] == 0
    assert (folder / "report.html").exists()
    assert "at work" not in normlab("status", "s.yaml")[1]
