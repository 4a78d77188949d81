"""Writes event files as trainings that stopped and went on leave them: `write_events.py DEST`."""

import sys
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def write(path: Path, *events: Event) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for event in (Event(file_version="brain.Event:2"), *events):
            writer.write(event.SerializeToString())
        writer.flush()


def scalar(step: int, value: float, tag: str = "acc") -> Event:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


dest = Path(sys.argv[1])
start = SessionLog(status=SessionLog.START)
# Two files of a run: what the first logged from step 2 on is void.
write(
    dest / "restarted" / "events.out.tfevents.1.host", *(scalar(step, 0.125) for step in range(5))
)
write(
    dest / "restarted" / "events.out.tfevents.2.host",
    Event(step=2, session_log=start), scalar(2, 0.5), scalar(3, 0.75),
)  # fmt: skip
# Two files that go on where the one before ended; a step that both have counts as in the later.
write(dest / "longer" / "events.out.tfevents.1.host", scalar(0, 0.1), scalar(1, 0.2))
write(dest / "longer" / "events.out.tfevents.2.host", scalar(1, 0.3), scalar(2, 0.4))
write(dest / "text" / "events.out.tfevents.1.host")
write(dest / "odd" / "\x1b[2J" / "events.out.tfevents.1.host", scalar(0, float("inf"), "\x07"))
whole = dest / "torn" / "events.out.tfevents.1.host"
write(whole, scalar(0, 0.5), scalar(1, 0.75))
whole.write_bytes(whole.read_bytes()[:-6])
damaged = dest / "damaged" / "events.out.tfevents.1.host"
write(damaged, scalar(0, 0.5), scalar(1, 0.625), scalar(2, 0.75))
content = bytearray(damaged.read_bytes())
content[content.index(b"acc", content.index(b"acc") + 1)] ^= 1
damaged.write_bytes(content)
(dest / "empty").mkdir()
(dest / "empty" / "events.out.tfevents.1.host").write_bytes(b"")
(dest / "link").symlink_to(dest / "longer")
# As Keras's callback does it: metrics of one name in two folders of a run.
for norm, split in (("a", "train"), ("a", "validation"), ("b", "train")):
    score = {"train": 0.75, "validation": 0.5}[split]
    path = dest / "keras" / norm / split / "events.out.tfevents.1.host"
    write(path, *(scalar(step, score, "epoch_accuracy") for step in range(2)))
# All that was logged is void, and nothing was logged since.
write(dest / "anew" / "events.out.tfevents.1.host", scalar(0, 0.5), scalar(1, 0.5))
write(dest / "anew" / "events.out.tfevents.2.host", Event(step=0, session_log=start))
