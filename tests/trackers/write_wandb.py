"""Writes logs of W&B as runs that were resumed or killed leave them: `write_wandb.py DEST`."""

import sys
from pathlib import Path

import wandb


def log(run_id: str, rows: list[dict[str, float]], **more: object) -> None:
    begun = wandb.init(project="norms", id=run_id, dir=sys.argv[1], **more)
    for step, row in enumerate(rows):
        begun.log(row, step=step + (2 if more.get("resume") else 0))
    if run_id == "summary":
        begun.summary["test"] = {"acc": 0.875}
        begun.summary["note"] = "good"
    begun.finish()


log("resumed", [{"acc": 0.5}, {"acc": 0.625}], config={"lr": 0.1})
log("resumed", [{"acc": 0.75}], config={"lr": 0.2}, resume="allow")
log("summary", [{"acc": 0.5}, {"acc": 0.75}], group="arm", job_type="train", name="\x1b[2J")
log("nested", [{"val": {"acc": 0.5}, "loss": float("nan")}, {"loss": float("-inf")}],
    config={"a": {"b": [1, 2], "c": None}})  # fmt: skip
log("torn", [{"acc": 0.5 + step / 1024} for step in range(200)])
(torn,) = Path(sys.argv[1]).glob("wandb/*run-*/run-torn.wandb")
torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
(nothing := torn.parent.parent / "offline-run-1-no").mkdir()
(nothing / "run-no.wandb").write_bytes(torn.read_bytes()[:40])
