"""The same runs for every tool: what the writers log, and what is read back."""

from typing import Any

STEPS = 4


def trials() -> list[dict[str, Any]]:
    """Two norms by three seeds; one run failed, and one diverged."""
    return [
        {
            "name": f"{norm}-s{seed}",
            "params": {"norm": norm, "seed": seed, "optimizer": {"lr": 0.05}},
            "metrics": {
                "val_acc": [
                    [epoch, round(0.5 + 0.1 * epoch + 0.01 * seed + 0.001 * len(norm), 6)]
                    for epoch in range(1, STEPS + 1)
                ],
                "train/loss": [
                    [epoch, float("nan") if (norm, seed) == ("group", 1) else 2.0 / epoch]
                    for epoch in range(1, STEPS + 1)
                ],
            },
            "state": "failed" if (norm, seed) == ("group", 2) else "complete",
        }
        for norm in ("batch", "group")
        for seed in range(3)
    ]
