"""The journal's lines: what is written is read back, and what does not check is never taken for a line."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.journal.codec import DamagedLine, decode, decode_whole, encode
from tunemill.journal.lines import (
    AttemptFailed,
    Completed,
    Ended,
    Failed,
    Line,
    Marked,
    Opened,
    Reused,
    RowSeen,
    Sent,
    SourceEnded,
)
from tunemill.model import FailureKind, Usage, picodollars, usd

USD_1000 = 1000 * 10**12
IDS = st.text("0123456789abcdef", min_size=32, max_size=32)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([',"answer":', ',"body":', ',"crc":"00000000"}', '{"kind":"completed",', "a\nb\r\n\0\u2028\x85"]),
)
KEYS = st.one_of(TEXTS, st.sampled_from(["answer", "body", "crc", "kind", "fields"]))
SMALL = st.integers(0, 2**53)
MONEY = st.integers(0, USD_1000)
TIMES = st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=5)
RAW = st.tuples(OBJECTS, st.booleans()).map(
    lambda pair: orjson.dumps(pair[0], option=orjson.OPT_INDENT_2 if pair[1] else None)
)
USAGES = st.builds(Usage, input=SMALL, output=SMALL, cached_input=SMALL, reasoning=SMALL)
PLACE: dict[str, Any] = {
    "at": TIMES,
    "request": IDS,
    "row": IDS,
    "step": TEXTS,
    "sample": SMALL,
    "attempt": st.integers(1, 1000),
}
FAILURE: dict[str, Any] = {
    **PLACE,
    "failure": st.sampled_from(FailureKind),
    "status": st.none() | st.integers(100, 999),
    "message": TEXTS,
    "uncertain": MONEY,
}
# Every kind of line, without what `decode` leaves out.
PLAIN: st.SearchStrategy[Line] = st.one_of(
    st.builds(Opened, at=TIMES, run=TEXTS, version=TEXTS, rows=SMALL, places=SMALL, simulated=st.booleans()),
    st.builds(RowSeen, position=SMALL, row=IDS, fields=st.none() | OBJECTS),
    st.builds(SourceEnded, rows=SMALL),
    st.builds(Sent, **PLACE, reserved=MONEY, path=TEXTS, body=st.none()),
    st.builds(AttemptFailed, **FAILURE),
    st.builds(Failed, **{**FAILURE, "attempt": st.integers(0, 1000)}),
    st.builds(Reused, row=IDS, step=TEXTS, sample=SMALL, request=IDS),
    st.builds(Ended, at=TIMES, state=TEXTS, reason=TEXTS),
    st.builds(Marked, inputs=TEXTS, walk=OBJECTS, lines=SMALL),
)
COMPLETED = st.builds(
    Completed,
    **PLACE,
    cost=MONEY,
    outcome=TEXTS,
    usage=st.none() | USAGES,
    duration_s=st.integers(0, 10**9).map(lambda n: n / 10**4),
    provider_request_id=st.none() | TEXTS,
    answer=st.none(),
)


@given(PLAIN)
def test_every_kind_of_line_is_read_back_as_it_was(line: Line) -> None:
    """What is encoded decodes to the same value, stands on one line, and is one JSON object for other readers."""
    text = encode(line)
    assert decode(text) == line
    assert text.index(b"\n") == len(text) - 1
    assert b"\0" not in text
    assert orjson.loads(text)["kind"]


@given(st.builds(Sent, **PLACE, reserved=MONEY, path=TEXTS, body=st.none()), RAW)
def test_a_sent_line_is_read_without_its_body_and_keeps_it(line: Sent, body: bytes) -> None:
    """Whatever a body holds, keys named as ours included, the line before it is read right and the body is kept."""
    text = encode(replace(line, body=orjson.Fragment(body)))
    assert decode(text) == line
    assert decode_whole(text)["body"] == orjson.loads(body)


@given(COMPLETED, RAW)
def test_a_completed_line_is_read_without_its_answer_and_keeps_it(line: Completed, answer: bytes) -> None:
    """Whatever an answer holds, also pretty-printed, the line before it is read right and the answer is kept."""
    text = encode(replace(line, answer=orjson.Fragment(answer)))
    assert decode(text) == line
    assert decode_whole(text)["answer"] == orjson.loads(answer)
    assert text.count(b"\n") == 1


def completed() -> Completed:
    return Completed(
        at=1.0,
        request="a" * 32,
        row="b" * 32,
        step="plot",
        sample=0,
        attempt=1,
        cost=12,
        outcome="stop",
        usage=None,
        duration_s=0.5,
        provider_request_id="req_1",
        answer=None,
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"question": "How?", "answer": "So."},
        {"title": "t", "body": "b"},
        {"a": {"b": 1, "answer": {"c": [1, {"d": 2, "body": 3}]}}},
        {"note": ',"answer":', "more": ',"body":{'},
    ],
)
def test_a_row_may_have_fields_named_as_our_payloads(fields: dict[str, Any]) -> None:
    """A table with a column `answer` or `body` is an ordinary table."""
    line = RowSeen(position=3, row="c" * 32, fields=fields)
    assert decode(encode(line)) == line


def test_a_body_may_have_a_key_named_answer() -> None:
    """A JSON schema with a property `answer` in what is sent does not end the line early."""
    body = b'{"model":"m","response_format":{"properties":{"a":{},"answer":{"type":"string"}}}}'
    line = Sent(
        at=1.0,
        request="a" * 32,
        row="b" * 32,
        step="s",
        sample=0,
        attempt=1,
        reserved=5,
        path="/chat/completions",
        body=orjson.Fragment(body),
    )
    assert decode(encode(line)) == replace(line, body=None)


def test_a_pretty_printed_answer_keeps_its_long_numbers() -> None:
    """Making one line of many rounds nothing: numbers longer than 64 bits and long fractions stay as they were sent."""
    answer = b'{\n  "id": 123456789012345678901234567890,\n  "created": 0.10000000000000000000000001\n}'
    text = encode(replace(completed(), answer=orjson.Fragment(answer)))
    assert text.count(b"\n") == 1
    assert b"123456789012345678901234567890" in text
    assert b"0.10000000000000000000000001" in text


@given(MONEY)
def test_dollars_in_json_are_exact(amount: int) -> None:
    """Every whole number of picodollars up to $1000 survives as a JSON float."""
    assert picodollars(orjson.loads(orjson.dumps(usd(amount)))) == amount


@given(PLAIN | COMPLETED, st.data())
def test_any_changed_byte_is_seen(line: Line, data: st.DataObject) -> None:
    """A line with one byte changed is damaged: it is never read as something else."""
    text = bytearray(encode(line))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[at]))
    with pytest.raises(DamagedLine):
        decode(bytes(text))
    with pytest.raises(DamagedLine):
        decode_whole(bytes(text))


@given(st.binary(max_size=200))
def test_no_bytes_but_ours_are_a_line(text: bytes) -> None:
    """Arbitrary bytes are damage, whatever they are, and not another exception."""
    with pytest.raises(DamagedLine):
        decode(text)


@pytest.mark.parametrize("record", [b"{}", b'{"kind":"unheard of"}', b'{"kind":"sent"}', b'{"kind":["sent"]}', b"[1]"])
def test_a_line_that_checks_and_says_something_else_is_damage(record: bytes) -> None:
    """A right checksum over a form that this version does not know is named as such, not skipped."""
    import zlib

    text = b'%b,"crc":"%08x"}\n' % (record[:-1], zlib.crc32(record[:-1]))
    with pytest.raises(DamagedLine):
        decode(text)
