"""The same fold as a job of Apache Flink, for those who outgrow a consumer group; the only place that knows PyFlink.

Each kind of events is a file of JSON lines, or a folder of such files: <events>/<kind>.jsonl. The functions that the
consumer group calls re-key and fold them, on the state that Flink keeps of each key. What is late, was seen or is
poison is theirs to say, so no watermark is used; poison goes to <output>/dead. A key's new states go to
<output>/states: the line with the greatest number counts.

It runs in an environment of its own, requirements/flink.txt. Where events come from Kafka and states go to Redis, a
KafkaSource takes the place of the one in `_lines` (its connector's jar is not in the package: `flink run --jarfile`),
and what sets each state under its key takes the place of the sink of states.
"""

import argparse
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Encoder, Types, WatermarkStrategy
from pyflink.datastream import (
    DataStream,
    KeyedProcessFunction,
    OutputTag,
    ProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.file_system import (
    FileEnumeratorProvider,
    FileSink,
    FileSource,
    RollingPolicy,
    StreamFormat,
)
from pyflink.datastream.state import ValueStateDescriptor

from ml.contract.clock import Clock
from ml.features.definition import Event, kind_of
from ml.features.group import Update
from ml.features.table import GROUPS
from ml.problem.schema import EVENTS
from ml.stream.messages import Message, rekeyed

CHECKPOINTS = 10_000  # milliseconds between two checkpoints
BYTES = "ISO-8859-1"  # one character a byte: whether these are UTF-8 is for the events' schema to say
DEAD = OutputTag("dead", Types.STRING())


class Rekey(ProcessFunction):  # type: ignore[misc]  # PyFlink has no types here
    """Turns a line into the keys of the states that it changes, each with its update."""

    def __init__(self, kind: type[Event]) -> None:
        self.kind, self.file, self.clock = kind, f"{kind_of(kind)}.jsonl", Clock("wall")

    def process_element(self, value: str, ctx: Any) -> Iterator[tuple[str, Update] | tuple[OutputTag, str]]:
        """Yield the changes of a line, or the line and the reason as a dead letter."""
        message = Message(self.file, 0, 0, b"", value.encode(BYTES) + b"\n")
        changes, dead = rekeyed(self.kind, [message], self.clock.now())
        for change in changes:
            yield change.group.key(change.entity).decode(), change.update
        for letter in dead:
            line = letter.message.value.decode(errors="replace")
            yield DEAD, json.dumps({"reason": letter.reason, "file": self.file, "line": line})


class Fold(KeyedProcessFunction):  # type: ignore[misc]
    """Folds a key's updates into its state and the ids that it has seen."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Find the parts of the key's state."""
        binary = Types.PRIMITIVE_ARRAY(Types.BYTE())
        kinds = {"state": binary, "seen": binary, "number": Types.LONG()}
        self.groups = {group.name: group for group in GROUPS}
        self.state, self.seen, self.number = (
            runtime_context.get_state(ValueStateDescriptor(name, kind)) for name, kind in kinds.items()
        )

    def process_element(self, value: tuple[str, Update], ctx: Any) -> Iterator[str]:
        """Fold one update, and tell the state that is new."""
        key, update = value
        group = self.groups[key.partition("/")[0]]
        folded = group.update(self.state.value(), self.seen.value(), [Update(*update)])
        if folded.folded:
            number = (self.number.value() or 0) + 1
            self.state.update(folded.state)
            self.seen.update(folded.seen)
            self.number.update(number)
            parts = {"state": folded.state, "seen": folded.seen}
            told = {name: base64.b64encode(part).decode() for name, part in parts.items()}
            yield json.dumps({"key": key, "number": number, **told})


def _url(folder: str) -> str:
    """Return where all of the cluster finds a folder, whatever its working directory."""
    return folder if "://" in folder else Path(folder).absolute().as_uri()


def _lines(environment: StreamExecutionEnvironment, events: str, kind: str) -> DataStream:
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(BYTES), f"{events}/{kind}.jsonl")
    whole = FileEnumeratorProvider.default_non_splittable_file_enumerator()  # lines of a file stay in their order
    return environment.from_source(source.set_file_enumerator(whole).build(), WatermarkStrategy.no_watermarks(), kind)


def _write(stream: DataStream, folder: str) -> None:
    sink = FileSink.for_row_format(folder, Encoder.simple_string_encoder())
    stream.sink_to(sink.with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy()).build())


def build(environment: StreamExecutionEnvironment, events: str, output: str) -> None:
    """Add the job to an environment."""
    changes = [
        _lines(environment, events, kind_of(kind)).process(Rekey(kind)).name(f"re-key {kind_of(kind)}")
        for kind in EVENTS
    ]
    folded = changes[0].union(*changes[1:]).key_by(lambda change: change[0], Types.STRING())
    _write(folded.process(Fold(), Types.STRING()).name("fold"), f"{output}/states")
    dead = [stream.get_side_output(DEAD) for stream in changes]
    _write(dead[0].union(*dead[1:]), f"{output}/dead")


def main() -> None:
    """Submit the job to the cluster of `flink run`, or run it in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=_url, required=True, help="folder of <kind>.jsonl")
    parser.add_argument("--output", type=_url, required=True, help="folder of states, dead letters and checkpoints")
    parser.add_argument("--parallelism", type=int, default=1)
    given = parser.parse_args()
    configuration = Configuration()
    configuration.set_string("execution.checkpointing.dir", f"{given.output}/checkpoints")
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(given.parallelism)
    environment.enable_checkpointing(CHECKPOINTS)  # exactly once is what Flink does unless told otherwise
    build(environment, given.events, given.output)
    environment.execute("fold")


if __name__ == "__main__":
    main()
