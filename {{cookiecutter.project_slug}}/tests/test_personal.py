"""Personal fields: what the schema lists is hashed or left out before anything is written, in whatever form."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from demos import environment, put_in_other_problem

from ml.contract import events
from ml.contract.schema import record_type
from ml.features.table import WINDOWED, columns_of, inputs
from ml.problem.schema import EXAMPLE

HASHED, DROPPED, KEPT = 31415926, 0.27182818, 14.142135  # numbers that nothing else is

# Logs two records of the second problem, as the service does, and leaves the open segment's bytes and the closed
# segment's, which are compressed, as a stream that is not.
LOG = """
import json, shutil, sys
from datetime import UTC, datetime
from pathlib import Path
from ml.contract import events
from ml.contract.schema import record_type
from ml.eventlog import segments
from ml.eventlog.log import EventLog
from ml.features.table import columns_of, inputs
from ml.problem.schema import EXAMPLE

there, hashed, dropped, kept = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
ours = {"examination": hashed, "mean_symmetry": dropped, "mean_texture": kept}
records = [record_type().model_validate_json(json.dumps({**EXAMPLE, **each})) for each in (ours, {})]
columns = columns_of(records)
plain = {"text": None, "number": 0.5, "single": 0.5, "flag": True, "time": datetime(2024, 1, 8, tzinfo=UTC)}
row = {name: plain[kind] for name, kind in events.TABLES["predictions"].items()}
named = {"request_id": ["a", "b"], "entity": events.entities(["examination"], columns)}
told = row | named | events.key_columns(columns) | events.feature_columns(inputs(columns))
assert told.keys() == events.TABLES["predictions"].keys()
log = EventLog(there / "spool", str(there / "log"), 60)
log.append("predictions", told, 2)
log.flush()
(open_segment,) = (there / "spool/predictions").iterdir()
shutil.copy(open_segment, there / "open")
log.close()
(closed,) = (there / "log/predictions").iterdir()
rows, _ = segments.read_closed(closed.read_bytes())
(batch,) = rows.to_batches()
(there / "closed").write_bytes(segments.stream(batch, begin=True))
"""


def forms(value: float) -> list[bytes]:
    """Return how a number may lie in a file: as float64, float32, integers and text."""
    packed = [struct.pack(form, value) for form in ["<d", "<f", ">d", ">f"]]
    whole = [struct.pack(form, int(value)) for form in ("<q", "<i")] if value == int(value) else []
    return [*packed, *whole, str(value).encode()[:8]]


def test_of_a_hashed_and_of_a_dropped_field_no_file_of_the_log_holds_the_value(project: Path, tmp_path: Path) -> None:
    put_in_other_problem(project)
    words = [sys.executable, "-c", LOG, *map(str, (tmp_path, HASHED, DROPPED, KEPT))]
    subprocess.run(words, cwd=project, env=environment(project), check=True)
    for content in ((tmp_path / name).read_bytes() for name in ("open", "closed")):
        assert any(form in content for form in forms(KEPT)), "the search finds nothing"
        assert [form for value in (HASHED, DROPPED) for form in forms(value) if form in content] == []
        assert b"mean_symmetry" not in content
        assert b"key.examination" in content


@pytest.mark.parametrize("wrong", ['{"examinaton": "hash"}', '{"examination": "hashed"}'])
def test_a_misspelt_field_or_word_is_refused_and_not_passed_over(project: Path, wrong: str) -> None:
    put_in_other_problem(project)
    schema = project / "ml/problem/schema.py"
    schema.write_text(schema.read_text() + f"\nPERSONAL = {wrong}\n")
    words = [sys.executable, "-c", "import ml.contract.events"]
    ran = subprocess.run(words, cwd=project, env=environment(project), capture_output=True, text=True, check=False)
    assert "ContractError: schema: PERSONAL says " + wrong.replace('"', "'") in ran.stderr


def test_a_personal_text_is_hashed_the_same_way_in_key_and_features_and_nothing_stays_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(events.PERSONAL, "carrier", "hash")
    monkeypatch.setitem(events.PERSONAL, "tailnum", "hash")
    known = {feature.name: np.full(3, np.nan) for feature in WINDOWED}
    sent = [{**EXAMPLE, "tailnum": tailnum} for tailnum in ("N14228", None, "N14228")]
    columns = columns_of([record_type().model_validate(each, strict=False) for each in sent])
    key, features = events.key_columns(columns), events.feature_columns(inputs(columns | known))
    assert set(key["key.carrier"]) == set(features["features.carrier"]) == {events.hashed("UA")}
    first, missing, again = features["features.tailnum"]
    assert first == again == events.hashed("N14228") != events.entity("tailnum", "N14228")
    assert (len(first), missing) == (32, "")
    assert events.hashed(None) is events.hashed(np.nan) is None
