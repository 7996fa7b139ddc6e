"""Tables: what is wrong with one is told with its line, and what is right with it arrives as it is written."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunemill.errors import SourceError
from tunemill.model import Json
from tunemill.recipe.sections import TableSource
from tunemill.sources import Source, open_source
from tunemill.sources.table import LINE_BYTES_MAX

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)

FABLES = """\
title,lesson,fable
The Frogs and the Ox,Do not attempt the impossible.,"An Ox came down to drink. ""Big, was he!"" said the old Frog."
Belling the Cat,"Easily said, hardly done.","The Mice met.

At last a very young Mouse got up."
"""


def table(folder: Path, name: str, data: str | bytes, sample: int | None = None) -> Source:
    """The source of a file with this content."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_source(TableSource(kind="table", path=name, sample=sample), folder)


def records(source: Source) -> list[dict[str, Json]]:
    """All rows' fields."""
    return [dict(row.fields) for row in source.rows()]


NAMED = "the first line names the columns, each differently"
QUOTED = "quote a cell that holds ',' or a line end, and leave none out"
CLOSED = 'a quote inside a quoted cell is written twice (""), and every opened quote is closed'

FAULTS: list[tuple[str, str | bytes, str]] = [
    ("t.csv", "", f"t.csv: the file is empty; {NAMED}"),
    ("t.csv", "a,b\n", "t.csv:1: there is a header and no row below it; add rows"),
    ("t.csv", "a,,c\n1,2,3\n", f"t.csv:1: column 2 has no name; {NAMED}"),
    (
        "t.csv",
        "a,b,a\n1,2,3\n",
        f"t.csv:1: there are two columns 'a'; {NAMED}",
    ),
    (
        "t.csv",
        "1,2.5\n3,4\n",
        f"t.csv:1: the header is all numbers, so it is probably a row; {NAMED}",
    ),
    (
        "t.csv",
        'a,b\n1,"x\ny"\n3\n',
        f"t.csv:4: 1 cells, and the header names 2 columns; {QUOTED}",
    ),
    (
        "t.csv",
        "a,b\n1,2\n1,2,3\n",
        f"t.csv:3: 3 cells, and the header names 2 columns; {QUOTED}",
    ),
    (
        "t.csv",
        'a,b\n1,2\n3,"x\n5,6\n',
        f"t.csv:3: not CSV (unexpected end of data); {CLOSED}",
    ),
    (
        "t.csv",
        'a,b\n1,"x"y\n',
        f"t.csv:2: not CSV (',' expected after '\"'); {CLOSED}",
    ),
    ("t.csv", b"a,b\n1,caf\xe9\n", "t.csv:2: byte 6 (0xe9) is not UTF-8; save the file as UTF-8, or leave it out"),
    ("t.csv", b"a,b\n1,\x00\n", "t.csv:2: there is a NUL byte: this is no text file; leave the file out"),
    ("t.csv", "a,b\n1,2\n".encode("utf-16"), "t.csv:1: the file is UTF-16, not UTF-8; save it as UTF-8"),
    ("t.jsonl", "", "t.jsonl: there is no record in the file; write one JSON object a line"),
    (
        "t.jsonl",
        '{"a": 1}\n[1]\n',
        't.jsonl:2: this is a JSON array, not an object; write an object with names, such as {"text": "..."}',
    ),
    (
        "t.jsonl",
        '{"a": 1},\n',
        "t.jsonl:1: not JSON at column 9 (unexpected content after document); "
        "write one whole JSON object a line, with no comma after it",
    ),
    ("t.jsonl", b'{"a": "\xff"}\n', "t.jsonl:1: byte 8 (0xff) is not UTF-8; save the file as UTF-8, or leave it out"),
]


@pytest.mark.parametrize(("name", "data", "message"), FAULTS)
def test_what_is_wrong_with_a_table_is_told_with_its_line(
    name: str, data: str | bytes, message: str, tmp_path: Path
) -> None:
    """Opening or checking it says which line, what about it, and what to do."""
    with pytest.raises(SourceError) as raised:
        table(tmp_path, name, data).check()
    assert str(raised.value).replace(f"{tmp_path}/", "") == message


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none.csv", "source.path = 'none.csv': there is no such file; paths are relative to the recipe: this is "),
        ("folder.csv", "source.path = 'folder.csv': is a folder; paths are relative to the recipe: this is "),
        ("t.xlsx", "source.path = 't.xlsx': '.xlsx' is no kind of table; name it .csv, .tsv or .jsonl, so that "),
    ],
)
def test_a_path_that_names_no_table_is_told(path: str, said: str, tmp_path: Path) -> None:
    """A missing file, a folder and a spreadsheet each have their own words."""
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(SourceError) as raised:
        open_source(TableSource(kind="table", path=path), tmp_path)
    assert str(raised.value).startswith(said)


def test_a_line_without_end_is_not_read_whole(tmp_path: Path) -> None:
    """A file that is one endless line does not take the memory of the machine."""
    path = tmp_path / "t.jsonl"
    with path.open("wb") as file:
        file.write(b" " * 100)
        file.truncate(LINE_BYTES_MAX + 200)
    with pytest.raises(SourceError, match="the line is longer than 67,108,864 bytes"):
        open_source(TableSource(kind="table", path="t.jsonl"), tmp_path)


def test_a_table_of_fables_arrives_as_it_is_written(tmp_path: Path) -> None:
    """Quotes, commas and blank lines inside of cells are part of them."""
    source = table(tmp_path, "fables.csv", FABLES)
    assert source.fields == ("title", "lesson", "fable")
    assert source.count() == 2
    assert records(source)[0]["fable"] == 'An Ox came down to drink. "Big, was he!" said the old Frog.'
    assert records(source)[1]["fable"] == "The Mice met.\n\nAt last a very young Mouse got up."


def test_every_value_of_a_csv_is_text(tmp_path: Path) -> None:
    """007 stays 007."""
    assert records(table(tmp_path, "t.csv", "id,year,ok\n007,1920,true\n")) == [
        {"id": "007", "year": "1920", "ok": "true"}
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.tsv", "Film Title\tyear, or so\nA\t1\n"),
        ("t.csv", '"Film Title";"year, or so"\nA;1\n'),
        ("t.csv", '"Film Title"|"year, or so"\nA|1\n'),
        ("t.csv", '\ufeff"Film Title","year, or so"\r\nA,1\r\n\r\n'),
    ],
)
def test_the_usual_dialects_are_understood(name: str, data: str, tmp_path: Path) -> None:
    """Tabs, semicolons, bars, a byte order mark, Windows line ends and blank lines."""
    assert records(table(tmp_path, name, data)) == [{"Film Title": "A", "year, or so": "1"}]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    """Any text in any cell."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two"), *cells])
    assert records(table(tmp_path, "t.csv", file.getvalue())) == [{"one": one, "two": two} for one, two in cells]


def test_a_cell_may_be_very_long(tmp_path: Path) -> None:
    """Python's own limit of 128 KiB is for nobody's novels."""
    text = "word " * 200_000
    assert records(table(tmp_path, "t.csv", f'a,b\n1,"{text}"\n'))[0]["b"] == text


def test_json_values_stay_what_they_are(tmp_path: Path) -> None:
    """Lists of messages, numbers and null; lines may lack columns, and blank lines are passed over."""
    lines: list[dict[str, Json]] = [
        {"messages": [{"role": "user", "content": "Hé\u2028!"}], "n": 1.5},
        {"messages": [], "tools": None},
    ]
    source = table(tmp_path, "t.jsonl", "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    assert records(source) == lines
    assert source.fields == ("messages", "n", "tools")


def test_a_sample_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    """The drawn rows come as they stand in the file; a larger sample keeps them."""
    data = "n\n" + "".join(f"x{number}\n" for number in range(100))
    some = [row["n"] for row in records(table(tmp_path, "t.csv", data, sample=10))]
    more = [row["n"] for row in records(table(tmp_path, "t.csv", data, sample=30))]
    assert len(some) == 10
    assert some == sorted(some, key=lambda cell: int(str(cell)[1:]))
    assert set(some) < set(more)
    assert table(tmp_path, "t.csv", data, sample=1000).count() == 100
    assert len(list(table(tmp_path, "t.csv", data).some(7, seed=1))) == 7


def test_reordering_or_extending_a_table_keeps_the_ids_of_its_rows(tmp_path: Path) -> None:
    """Row ids follow content: nothing is paid twice because of another line or another order of columns."""
    before = {row.id for row in table(tmp_path, "t.csv", "a,b\n1,2\n3,4\n").rows()}
    after = {row.id for row in table(tmp_path, "t.csv", "b,a\n6,5\n4,3\n2,1\n").rows()}
    assert before < after


@pytest.mark.parametrize("sample", [None, 5])
def test_records_that_are_done_with_are_passed_over(tmp_path: Path, sample: int | None) -> None:
    """What is left are the unsettled ones, and all that was not walked, in order."""
    text = "a\n" + "".join(f"{number}\n" for number in range(9))
    source = table(tmp_path, "t.csv", text, sample)
    every = [row.id for row in source.rows()]
    assert [row.id for row in source.rows_but(3, [0, 2])] == [every[0], every[2], *every[3:]]
    assert [row.id for row in source.rows_but(0, [])] == every
    assert list(source.rows_but(len(every), [])) == []
