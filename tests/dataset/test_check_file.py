"""`check` on whole files: every fault with its line, counts in full, and two files against each other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.dataset import CheckReport, FaultKind, TrainFormat, check_file, check_pair, training_price
from tunemill.dataset.check import lines
from tunemill.dataset.check.endings import Endings
from tunemill.dataset.check.limits import example_tokens_max
from tunemill.errors import ArgumentError


def chat_line(number: int, answer: str = "Hello") -> bytes:
    messages = [{"role": "user", "content": f"Hi {number}"}, {"role": "assistant", "content": answer}]
    return orjson.dumps({"messages": messages})


def completion_line(prompt: str, completion: str) -> bytes:
    return orjson.dumps({"prompt": prompt, "completion": completion})


def checked(folder: Path, content: Iterable[bytes], name: str = "data.jsonl", **more: Any) -> CheckReport:
    path = folder / name
    path.write_bytes(b"\n".join(content) + b"\n")
    return check_file(path, **more)


def found(report: CheckReport) -> list[tuple[str, int | None]]:
    return [(fault.kind.code, fault.line) for fault in report.faults if fault.kind is not FaultKind.FEW]


GOOD = [chat_line(number) for number in range(12)]


def test_a_sound_file_is_valid_and_measured(tmp_path: Path) -> None:
    """Format, lines, roles, lengths and an estimate of the tokens."""
    report = checked(tmp_path, GOOD)
    assert report.is_valid
    assert found(report) == []
    assert (report.format, report.lines, report.examples) == (TrainFormat.CHAT, 12, 12)
    assert report.roles == {"assistant": 12, "user": 12}
    assert (report.lengths.least, report.lengths.most) == (9, 10)
    assert report.tokens == 12 * 3


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"", "empty_line"),
        (b"   ", "empty_line"),
        (b'{"messages": [', "invalid_json"),
        (b"{'messages': []}", "invalid_json"),
        (b'{"messages": NaN}', "invalid_json"),
        (b"[" * 2_000, "invalid_json"),
        (b'{"a": "\xff"}', "not_utf8"),
        (b"[1]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'{"text": "x"}', "unknown_format"),
        (b"{}", "unknown_format"),
        (b'{"prompt": "p", "completion": " c"}', "mixed_formats"),
    ],
)
def test_a_broken_line_is_named_by_its_number_and_the_rest_is_read(tmp_path: Path, line: bytes, kind: str) -> None:
    """One bad line spoils nothing after it."""
    report = checked(tmp_path, [*GOOD[:3], line, *GOOD[3:]])
    assert found(report) == [(kind, 4)]
    assert report.lines == 13
    assert not report.is_valid


def test_invalid_json_says_the_column(tmp_path: Path) -> None:
    """So that it can be found in a long line."""
    (fault,) = [one for one in checked(tmp_path, [*GOOD, b'{"messages": oops}']).faults if one.line]
    assert "column 14" in fault.problem


def test_a_byte_order_mark_is_named_and_read_past(tmp_path: Path) -> None:
    """The first example is still read."""
    report = checked(tmp_path, [b"\xef\xbb\xbf" + GOOD[0], *GOOD[1:]])
    assert found(report) == [("byte_order_mark", 1)]
    assert report.examples == 12


def test_utf16_is_named_once(tmp_path: Path) -> None:
    """Not as a thousand broken lines."""
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join(GOOD).decode().encode("utf-16"))
    assert found(check_file(path)) == [("not_utf8", 1), ("too_few_examples", None)]


def test_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    """JSON allows a carriage return between values."""
    assert found(checked(tmp_path, [line + b"\r" for line in GOOD])) == []


def test_a_last_line_without_line_feed_is_read(tmp_path: Path) -> None:
    """The file need not end with one."""
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join(GOOD))
    assert check_file(path).examples == 12


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, passed over, and the next line is read under its own number."""
    monkeypatch.setattr(lines, "LINE_BYTES_MAX", 1_000)
    report = checked(tmp_path, [*GOOD[:2], b"x" * 5_500, *GOOD[2:]])
    assert found(report) == [("line_too_long", 3)]
    assert report.examples == 12


def test_duplicates_name_the_first_line(tmp_path: Path) -> None:
    """A warning: targets take them."""
    report = checked(tmp_path, [*GOOD, GOOD[4]])
    (fault,) = [one for one in report.faults if one.kind is FaultKind.DUPLICATE]
    assert (fault.line, fault.problem) == (13, "is the same as line 5")
    assert report.is_valid


def test_too_few_examples_is_an_error_and_few_a_warning(tmp_path: Path) -> None:
    """Ten are accepted, fifty are advised."""
    assert checked(tmp_path, GOOD[:9]).counts == {FaultKind.TOO_FEW: 1}
    assert checked(tmp_path, GOOD[:10]).counts == {FaultKind.FEW: 1}
    assert checked(tmp_path, (chat_line(number) for number in range(50))).counts == {}


def test_the_name_must_end_in_jsonl(tmp_path: Path) -> None:
    """Targets look at it."""
    assert ("name_not_jsonl", None) in found(checked(tmp_path, GOOD, name="data.json"))


def test_a_file_over_the_limit_is_named(tmp_path: Path) -> None:
    """A sparse file is as large as it says, and is read without filling the memory."""
    path = tmp_path / "large.jsonl"
    with path.open("wb") as handle:
        handle.write(b"\n".join(GOOD) + b"\n")
        handle.truncate(513 * 1024 * 1024)
    report = check_file(path)
    assert FaultKind.TOO_LARGE in report.counts
    assert FaultKind.LINE_TOO_LONG in report.counts


def test_examples_too_long_for_the_model_are_warned_of(tmp_path: Path) -> None:
    """By estimate, against the limit of the model or the one that the caller knows."""
    long = [*GOOD, chat_line(99, "word " * 60_000)]
    assert checked(tmp_path, long, model="gpt-4o-mini-2024-07-18").counts[FaultKind.TOO_LONG] == 1
    assert FaultKind.TOO_LONG not in checked(tmp_path, long, model="some-other-model").counts
    assert checked(tmp_path, GOOD, tokens_max=2).counts[FaultKind.TOO_LONG] == 12


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-4o-mini-2024-07-18", 65_536),
        ("ft:gpt-3.5-turbo-0125:org::abc", 16_385),
        ("gpt-3.5-turbo-0613", 4_096),
        ("gpt-4", 8_192),
        ("gpt-4000", None),
        ("", None),
    ],
)
def test_a_dated_or_tuned_model_has_its_bases_limit(model: str, limit: int | None) -> None:
    """And an unknown one has none."""
    assert example_tokens_max(model) == limit


def test_all_faults_are_counted_and_the_first_thousand_kept(tmp_path: Path) -> None:
    """Faults of the file as a whole are kept beside them."""
    report = checked(tmp_path, [b"{}"] * 1 + [b"[%d]" % number for number in range(3_000)], name="x.txt")
    assert report.counts[FaultKind.NOT_AN_OBJECT] == 3_000
    assert len(report.faults) == 1_000 + 2
    assert {fault.kind for fault in report.faults[1_000:]} == {FaultKind.NAME, FaultKind.TOO_FEW}
    assert report.to_json()["faults_left_off"] == 2_001


def test_an_expected_format_overrules_the_first_line(tmp_path: Path) -> None:
    """Every chat line is then the wrong one."""
    report = checked(tmp_path, GOOD, expected=TrainFormat.PREFERENCE)
    assert report.counts[FaultKind.MIXED_FORMATS] == 12


@pytest.mark.parametrize("name", ["gone.jsonl", "."])
def test_what_is_no_file_is_the_callers_mistake(tmp_path: Path, name: str) -> None:
    """With the path in the message."""
    with pytest.raises(ArgumentError, match="name a file"):
        check_file(tmp_path / name)


def test_separator_and_stop_are_found_and_the_odd_lines_named(tmp_path: Path) -> None:
    """Whatever nine in ten end with is the mark, also when the first line is an odd one."""
    content = [completion_line(f"number {number}\n\n###\n\n", f" answer {number} END") for number in range(30)]
    content[0] = completion_line("number 0", " answer 0 END")
    content[20] = completion_line("number 20\n\n###\n\n", " answer 20")
    report = checked(tmp_path, content)
    assert found(report) == [("separator_differs", 1), ("stop_differs", 21)]
    assert r"'\n\n###\n\n'" in report.faults[-2].problem


def test_prompts_without_a_common_ending_are_warned_of_once(tmp_path: Path) -> None:
    """Not for each line."""
    content = [completion_line(f"question {number * 7919 % 1000}", f" answer {number * 31}") for number in range(60)]
    assert found(checked(tmp_path, content)) == [("separator_missing", None), ("stop_missing", None)]


@given(bodies=st.lists(st.text("abc", max_size=6), min_size=30, max_size=60), odd=st.integers(0, 29))
def test_a_common_ending_is_found_whatever_the_texts(bodies: list[str], odd: int) -> None:
    """The mark ends with the ending that all but one have, and the odd line is named."""
    endings = Endings()
    for number, body in enumerate(bodies):
        endings.add(number + 1, body + ("!" if number == odd else " ->\n"))
    ending = endings.found()
    assert ending.mark.endswith(" ->\n")
    assert odd + 1 in ending.odd_lines


@given(content=st.binary(max_size=200))
def test_no_file_is_too_broken(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the bytes, there is a report, and it can be shown as JSON."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    assert orjson.dumps(check_file(path).to_json())


def test_a_pair_shares_examples_and_prompts(tmp_path: Path) -> None:
    """The validation file's lines are named with the training file's; another order of keys hides nothing."""
    train, validation = tmp_path / "train.jsonl", tmp_path / "validation.jsonl"
    reordered = b'{"messages":[{"content":"Hi 3","role":"user"},{"content":"Hello","role":"assistant"}]}'
    train.write_bytes(b"\n".join(GOOD))
    validation.write_bytes(b"\n".join([chat_line(50), reordered, chat_line(5, "Good day"), b"not json"]))
    report = check_pair(train, validation)
    assert (report.shared_examples, report.shared_prompts, report.is_valid) == (1, 1, False)
    assert [str(fault) for fault in report.faults] == [
        "line 2: is also line 4 of train.jsonl; remove it from the validation file",
        "line 3: asks the same as line 6 of train.jsonl; keep examples with the same prompt in one of the files",
    ]


def test_training_costs_tokens_times_epochs_times_price() -> None:
    """Exactly, in picodollars: 3 dollars a million tokens are 3 million picodollars a token."""
    assert training_price(1_000_000, epochs=3, price_per_token=3_000_000) == 9 * 10**12
