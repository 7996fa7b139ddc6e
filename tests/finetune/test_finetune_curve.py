"""events.jsonl and metrics.csv: once each, in order, also after a crash at any byte."""

import base64
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunemill.client.fine_tuning_values import JobEvent
from tunemill.errors import RunFolderError
from tunemill.finetune.curve import EVENTS_NAME, METRICS_NAME, Curve, csv_of
from tunemill.model import Json

HEADER = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
TABLE = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,1.5,0.5,,\n"


def event(number: int, data: dict[str, Json] | None = None) -> JobEvent:
    served: dict[str, Json] = {"id": f"ftevent-{number}", "created_at": number, "message": f"message {number}"}
    served |= {"data": data} if data else {}
    return JobEvent(
        id=f"ftevent-{number}",
        created_at=number,
        level="info",
        message=f"message {number}",
        data=data or {},
        served=served,
    )


def step(number: int) -> JobEvent:
    return event(number, {"step": number, "train_loss": 1 / number, "train_mean_token_accuracy": 0.5})


def ids_in(folder: Path) -> list[str]:
    return [orjson.loads(line)["id"] for line in (folder / EVENTS_NAME).read_bytes().splitlines()]


def test_the_curve_has_a_header_before_it_has_a_point(tmp_path: Path) -> None:
    """A spreadsheet can open it at any time."""
    Curve(tmp_path, "ftjob-1")
    assert (tmp_path / METRICS_NAME).read_text() == HEADER


def test_events_are_written_as_served_with_the_job(tmp_path: Path) -> None:
    """Plain messages make no point on the curve; metrics do, under the names of the results file."""
    Curve(tmp_path, "ftjob-1").append([event(1), step(2)])
    first, second = map(orjson.loads, (tmp_path / EVENTS_NAME).read_bytes().splitlines())
    assert first == {"id": "ftevent-1", "created_at": 1, "message": "message 1", "fine_tuning_job_id": "ftjob-1"}
    assert second["data"] == {"step": 2, "train_loss": 0.5, "train_mean_token_accuracy": 0.5}
    assert (tmp_path / METRICS_NAME).read_text() == HEADER + "2,0.5,0.5,,\n"


def test_an_event_is_written_once_also_after_a_restart(tmp_path: Path) -> None:
    """What is returned is what is new."""
    curve = Curve(tmp_path, "ftjob-1")
    assert curve.append([event(1), step(2)]) == [event(1), step(2)]
    assert curve.append([event(1), step(2), event(3)]) == [event(3)]
    restarted = Curve(tmp_path, "ftjob-1")
    assert restarted.known == {"ftevent-1", "ftevent-2", "ftevent-3"}
    assert restarted.append([event(1), step(2), event(3), step(4)]) == [step(4)]
    assert ids_in(tmp_path) == ["ftevent-1", "ftevent-2", "ftevent-3", "ftevent-4"]
    assert (tmp_path / METRICS_NAME).read_text() == HEADER + "2,0.5,0.5,,\n4,0.25,0.5,,\n"


def test_another_job_has_a_curve_of_its_own(tmp_path: Path) -> None:
    """The events of all jobs stay; the curve is the current one's."""
    Curve(tmp_path, "ftjob-1").append([step(1)])
    second = Curve(tmp_path, "ftjob-2")
    assert second.known == set()
    assert (tmp_path / METRICS_NAME).read_text() == HEADER
    second.append([step(2)])
    assert ids_in(tmp_path) == ["ftevent-1", "ftevent-2"]


def test_zero_is_a_point_and_nothing_is_none(tmp_path: Path) -> None:
    """A loss of 0.0 counts; a step without figures does not."""
    Curve(tmp_path, "j").append([event(1, {"step": 1, "train_loss": 0.0}), event(2, {"step": 2, "total_steps": 9})])
    assert (tmp_path / METRICS_NAME).read_text() == HEADER + "1,0.0,,,\n"


@settings(max_examples=60)
@given(st.integers(min_value=0, max_value=400))
def test_a_crash_at_any_byte_loses_no_event(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    """A torn line is cut off, its event is served again, and the order is the one in which they happened."""
    folder = tmp_path_factory.mktemp("run")
    everything = [event(1), step(2), step(3), event(4)]
    Curve(folder, "j").append(everything)
    path = folder / EVENTS_NAME
    path.write_bytes(path.read_bytes()[:kept])
    restarted = Curve(folder, "j")
    restarted.append(everything)
    assert ids_in(folder) == ["ftevent-1", "ftevent-2", "ftevent-3", "ftevent-4"]
    assert len((folder / METRICS_NAME).read_text().splitlines()) == 3


@pytest.mark.parametrize("line", [b"not json", b"[]", b'{"no": "id"}', b'{"id": 7}'])
def test_damage_elsewhere_is_named_with_its_line(tmp_path: Path, line: bytes) -> None:
    """It is never skipped in silence."""
    Curve(tmp_path, "j").append([event(1)])
    with (tmp_path / EVENTS_NAME).open("ab") as handle:
        handle.write(line + b"\n")
    with pytest.raises(RunFolderError, match=r"events.jsonl:2: is not an event; delete the line"):
        Curve(tmp_path, "j")


def packed(pieces: Iterable[bytes]) -> bytes:
    return b"\n".join(pieces)


@pytest.mark.parametrize(
    "served",
    [
        TABLE,
        b"\xef\xbb\xbf" + TABLE,
        base64.b64encode(TABLE),
        base64.encodebytes(TABLE),
        b'"' + base64.b64encode(TABLE) + b'"\n',
        packed([base64.b64encode(TABLE)[:20], base64.b64encode(TABLE)[20:]]),
    ],
)
def test_a_results_file_is_read_plain_or_as_base64(tmp_path: Path, served: bytes) -> None:
    """However it is served, what is kept is CSV."""
    curve = Curve(tmp_path, "j")
    assert curve.take_results(served)
    assert (tmp_path / METRICS_NAME).read_bytes() == TABLE


@pytest.mark.parametrize("served", [b"", b"<html>", base64.b64encode(b"<html>"), b"\xff\xfe\x00", b"a,b\n1,2\n"])
def test_what_is_no_curve_replaces_none(tmp_path: Path, served: bytes) -> None:
    """The curve from the events stays."""
    curve = Curve(tmp_path, "j")
    curve.append([step(2)])
    assert not curve.take_results(served)
    assert (tmp_path / METRICS_NAME).read_text() == HEADER + "2,0.5,0.5,,\n"


@given(st.binary(max_size=200))
def test_reading_a_results_file_never_fails(content: bytes) -> None:
    """Any bytes are either a curve or none."""
    table = csv_of(content)
    assert table == b"" or b"step" in table.splitlines()[0]
