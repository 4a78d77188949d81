"""Prints what a tool's own package reads of an export, as JSON: `exported_back.py TOOL DEST`."""

import json
import sys
from pathlib import Path
from typing import Any


def mlflow(dest: str) -> dict[str, Any]:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{dest}")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("paper")
    table = mlflow.search_runs([experiment.experiment_id])
    runs = [
        {
            "id": run.info.run_id,
            "name": run.info.run_name,
            "params": run.data.params,
            "tags": run.data.tags,
            "state": run.info.status,
            "began": run.info.start_time,
            "ended": run.info.end_time,
            "metrics": {
                key: [
                    [m.step, m.value, m.timestamp]
                    for m in client.get_metric_history(run.info.run_id, key)
                ]
                for key in run.data.metrics
            },
        }
        for run in map(client.get_run, table["run_id"])
    ]
    places = [e.artifact_location for e in client.search_experiments()]
    return {"runs": runs, "tags": experiment.tags, "places": places}


def tensorboard(dest: str) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams import metadata

    # All that there is: usually TensorBoard draws a sample.
    every = EventMultiplexer(size_guidance={"scalars": 0, "tensors": 0})
    every.AddRunsFromDirectory(dest)
    every.Reload()
    runs = []
    for name, tags in every.Runs().items():
        found = every.GetAccumulator(name)
        try:
            data = found.PluginTagToContent("hparams")
        except KeyError:
            data = {}
        params, group, infos = {}, "", []
        if metadata.SESSION_START_INFO_TAG in data:
            start = metadata.parse_session_start_info_plugin_data(
                data[metadata.SESSION_START_INFO_TAG]
            )
            group = start.group_name
            params = {
                key: getattr(value, value.WhichOneof("kind"))
                for key, value in start.hparams.items()
            }
        if metadata.EXPERIMENT_TAG in data:
            made = metadata.parse_experiment_plugin_data(data[metadata.EXPERIMENT_TAG])
            infos = [info.name for info in made.hparam_infos]
        texts = [
            event.tensor_proto.string_val[0].decode()
            for tag in tags["tensors"]
            if tag.endswith("/text_summary")
            for event in found.Tensors(tag)
        ]
        runs.append(
            {
                "name": name,
                "params": params,
                "group": group,
                "infos": infos,
                "texts": texts,
                "metrics": {
                    tag: [[e.step, e.value, e.wall_time] for e in found.Scalars(tag)]
                    for tag in tags["scalars"]
                },
            }
        )
    return {"runs": runs}


def trackio(dest: str) -> dict[str, Any]:
    import trackio  # whose folder is in TRACKIO_DIR
    from trackio.sqlite_storage import SQLiteStorage

    runs = [
        {
            "id": run.id,
            "name": run.name,
            "params": run.config,
            "rows": SQLiteStorage.get_logs("paper", run.name, run_id=run.id),
        }
        for run in trackio.Api().runs("paper")
    ]
    return {"runs": runs}


def wandb(dest: str) -> dict[str, Any]:
    """By its own messages: the package has no reader of logs that is public."""
    from wandb.proto.wandb_internal_pb2 import Record

    from normlab.trackers.read.wandb_log import records

    runs = []
    for path in sorted(Path(dest).glob("wandb/*/*.wandb")):
        run: dict[str, Any] = {"rows": [], "summary": {}}
        for content in records(path):
            record = Record.FromString(content)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                of = record.run
                run |= {
                    "id": of.run_id,
                    "name": of.display_name,
                    "project": of.project,
                    "group": of.run_group,
                    "job": of.job_type,
                    "tags": list(of.tags),
                    "notes": of.notes,
                    "host": of.host,
                    "began": of.start_time.ToSeconds(),
                    "params": {
                        _key(item): json.loads(item.value_json) for item in of.config.update
                    },
                }
            elif kind == "history":
                run["rows"].append(
                    {_key(item): json.loads(item.value_json) for item in record.history.item}
                )
            elif kind == "summary":
                run["summary"] |= {
                    _key(item): json.loads(item.value_json) for item in record.summary.update
                }
            elif kind == "exit":
                run["exit"] = record.exit.exit_code
        runs.append(run)
    return {"runs": runs}


def _key(item: Any) -> str:
    return str(item.key or ".".join(item.nested_key))


if __name__ == "__main__":
    tools = {"mlflow": mlflow, "tensorboard": tensorboard, "trackio": trackio, "wandb": wandb}
    sys.stdout.write(json.dumps(tools[sys.argv[1]](sys.argv[2])))
