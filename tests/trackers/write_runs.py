"""Logs runs with a tool's own package: `write_runs.py TOOL DEST`, the runs as JSON on stdin.

It runs in the environment of the tools' packages, and imports nothing of normlab or its tests.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def mlflow(runs: list[dict[str, Any]], dest: Path, uri: str) -> None:
    import mlflow
    from mlflow.entities import Metric, Param

    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("norms", artifact_location=str(dest / "artifacts"))
    for run in runs:
        run_id = client.create_run(experiment, run_name=run["name"]).info.run_id
        metrics = [
            Metric(name, value, step, step)
            for name, points in run["metrics"].items()
            for step, value in points
        ]
        params = [Param(name, str(value)) for name, value in dotted(run["params"]).items()]
        client.log_batch(run_id, metrics, params)
        client.set_terminated(run_id, "FINISHED" if run["state"] == "complete" else "FAILED")


def trackio(runs: list[dict[str, Any]], dest: Path) -> None:
    os.environ["TRACKIO_DIR"] = str(dest)
    import trackio

    for run in runs:
        trackio.init(project="norms", name=run["name"], config=run["params"], embed=False)
        for step, row in rows(run):
            trackio.log(row, step=step)
        trackio.finish()


def wandb(runs: list[dict[str, Any]], dest: Path) -> None:
    dest.mkdir(parents=True, exist_ok=True)
    import wandb

    for run in runs:
        logged = wandb.init(project="norms", name=run["name"], config=run["params"], dir=str(dest))
        for step, row in rows(run):
            logged.log(row, step=step)
        logged.finish(exit_code=0 if run["state"] == "complete" else 1)


def tensorboard(runs: list[dict[str, Any]], dest: Path) -> None:
    """As TF2 does: scalars in tensors, parameters by the hparams plugin."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
    from tensorboard.plugins.hparams import metadata as hparams
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    scalars = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    for run in runs:
        writer = EventFileWriter(str(dest / run["name"]))
        writer.add_event(Event(summary=summary_v2.hparams_pb(dotted(run["params"]))))
        for step, row in rows(run):
            values = [
                Summary.Value(
                    tag=tag, metadata=scalars, tensor=make_tensor_proto(value, dtype="float32")
                )
                for tag, value in row.items()
            ]
            writer.add_event(Event(summary=Summary(value=values), step=step))
        status = api_pb2.STATUS_SUCCESS if run["state"] == "complete" else api_pb2.STATUS_FAILURE
        ended = plugin_data_pb2.HParamsPluginData(
            session_end_info=plugin_data_pb2.SessionEndInfo(status=status)
        )
        value = Summary.Value(
            tag=hparams.SESSION_END_INFO_TAG, metadata=hparams.create_summary_metadata(ended)
        )
        writer.add_event(Event(summary=Summary(value=[value])))
        writer.close()


def torch_tensorboard(runs: list[dict[str, Any]], dest: Path) -> None:
    """As torch does: scalars as simple values; `add_hparams` makes a folder within the run's."""
    from torch.utils.tensorboard import SummaryWriter

    for run in runs:
        with SummaryWriter(str(dest / run["name"])) as writer:
            for step, row in rows(run):
                for tag, value in row.items():
                    writer.add_scalar(tag, value, step)
            writer.add_hparams(dotted(run["params"]), {"hparam/val_acc": row["val_acc"]})


def rows(run: dict[str, Any]) -> list[tuple[int, dict[str, float]]]:
    found: dict[int, dict[str, float]] = {}
    for name, points in run["metrics"].items():
        for step, value in points:
            found.setdefault(step, {})[name] = value
    return sorted(found.items())


def dotted(params: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            found |= dotted(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


if __name__ == "__main__":
    tool, dest = sys.argv[1], Path(sys.argv[2])
    logged = json.load(sys.stdin)
    if tool == "mlflow":
        dest.mkdir(parents=True, exist_ok=True)
        mlflow(logged, dest, f"sqlite:///{dest / 'mlflow.db'}")
    elif tool == "mlruns":
        mlflow(logged, dest, (dest / "mlruns").as_uri())
    else:
        {
            "trackio": trackio,
            "wandb": wandb,
            "tensorboard": tensorboard,
            "torch": torch_tensorboard,
        }[tool](logged, dest)
