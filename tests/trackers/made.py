"""Small stores made by hand, as the tools lay them out: no package is needed for them."""

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MLFLOW = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256),
    lifecycle_stage VARCHAR(32));
CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), status VARCHAR(9),
    start_time BIGINT, lifecycle_stage VARCHAR(20), experiment_id INTEGER);
CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32),
    PRIMARY KEY (key, run_uuid));
CREATE TABLE tags (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32),
    PRIMARY KEY (key, run_uuid));
CREATE TABLE metrics (key VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32),
    step BIGINT, is_nan BOOLEAN,
    PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
INSERT INTO experiments VALUES (1, 'norms', 'active'), (2, 'old', 'deleted');
"""


def mlflow(path: Path, *statements: str) -> Path:
    """A database of MLflow with two experiments, `norms` and the deleted `old`."""
    return database(path, MLFLOW, *statements)


def mlflow_run(run: str, *, state: str = "FINISHED", stage: str = "active", of: int = 1) -> str:
    return f"INSERT INTO runs VALUES ('{run}', '{run}', '{state}', 0, '{stage}', {of});"


def database(path: Path, *statements: str) -> Path:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.executescript(statement)
    connection.close()
    return path


def trackio(
    path: Path,
    rows: Iterable[tuple[str, str, int, Any]],
    configs: Iterable[tuple[str, str, Any]] = (),
) -> Path:
    """A database of trackio of (run id, name, step, metrics) and (run id, name, configuration)."""
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id TEXT, timestamp TEXT, run_name TEXT, "
        "step INTEGER, metrics TEXT);"
        "CREATE TABLE configs (id INTEGER PRIMARY KEY, run_id TEXT, run_name TEXT, config TEXT);"
    )
    connection.executemany(
        "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?, '', ?, ?, ?)",
        [(run, name, step, text(data)) for run, name, step, data in rows],
    )
    connection.executemany(
        "INSERT INTO configs (run_id, run_name, config) VALUES (?, ?, ?)",
        [(run, name, text(data)) for run, name, data in configs],
    )
    connection.commit()
    connection.close()
    return path


def text(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps(data)


def mlruns(folder: Path, runs: dict[str, dict[str, Any]], *, experiment: str = "norms") -> Path:
    """A folder `mlruns`: by run id `params`, `metrics` (lines of text) and keys of its meta.yaml."""
    at = folder / "mlruns" / "1"
    at.mkdir(parents=True)
    (at / "meta.yaml").write_text(
        f"experiment_id: '1'\nname: {experiment}\nlifecycle_stage: active\n"
    )
    for run_id, run in runs.items():
        own = at / run_id
        meta = {"run_id": run_id, "run_name": run_id, "status": 3, "lifecycle_stage": "active"}
        meta |= run.get("meta", {})
        own.mkdir()
        (own / "meta.yaml").write_text("".join(f"{key}: {value}\n" for key, value in meta.items()))
        for kind in ("params", "metrics", "tags"):
            for key, content in run.get(kind, {}).items():
                (own / kind / key).parent.mkdir(parents=True, exist_ok=True)
                (own / kind / key).write_text(content)
    return folder


def wandb_log(records: Iterable[bytes]) -> bytes:
    """A log of W&B of these records, laid out as LevelDB does: in blocks of 32 KiB."""
    made = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    for record in records:
        rest, first = record, True
        while True:
            room = 32768 - len(made) % 32768
            if room < 7:
                made += bytes(room)
                continue
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[
                first, not rest
            ]
            checksum = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            made += struct.pack("<IHB", checksum, len(piece), kind) + piece
            first = False
            if not rest:
                break
    return made
