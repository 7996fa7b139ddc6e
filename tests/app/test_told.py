"""What was told outside is remembered across processes, so that a restart loop says it once."""

from pathlib import Path

import pytest

from tunemill.app.told import FILE_NAME, REPEATED_AFTER_S, Told
from tunemill.telemetry.notices import Notice

FAILED = Notice(kind="failed", text="it failed", cause="failed disk")
FINISHED = Notice(kind="finished", text="done", cause="finished")


@pytest.mark.parametrize("notice", [FAILED, FINISHED])
def test_the_same_with_nothing_done_since_is_no_news_however_late(notice: Notice, tmp_path: Path) -> None:
    """A pod that is restarted a hundred times, or a finished run that is run again next week."""
    assert Told(tmp_path).is_news(notice, settled=5, at=0)
    Told(tmp_path).remember(notice, settled=5, at=0)
    assert not Told(tmp_path).is_news(notice, settled=5, at=1e6)


@pytest.mark.parametrize(
    ("notice", "at", "is_news"),
    [
        (FAILED, REPEATED_AFTER_S - 1, False),
        (FAILED, REPEATED_AFTER_S, True),
        (FINISHED, 1, True),
        (FAILED, -10, True),
    ],
)
def test_with_something_done_since_it_is_news_but_in_a_loop(
    notice: Notice, at: float, is_news: bool, tmp_path: Path
) -> None:
    """The pilot's end and the run's are two; a crash every minute is one an hour. A clock that was set back is no
    reason to be silent for ever."""
    Told(tmp_path).remember(notice, settled=5, at=0)
    assert Told(tmp_path).is_news(notice, settled=6, at=at) == is_news


def test_another_cause_is_news(tmp_path: Path) -> None:
    """A full disk and a bad key are two things to mend."""
    Told(tmp_path).remember(FAILED, settled=5, at=0)
    other = Notice(kind="failed", text="it failed", cause="failed key")
    assert Told(tmp_path).is_news(other, settled=5, at=1)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"failed": 3}', b'{"failed": {"at": "x"}}', b"\xff"])
def test_a_damaged_memory_is_none(content: bytes, tmp_path: Path) -> None:
    """Rather twice than never."""
    (tmp_path / FILE_NAME).write_bytes(content)
    assert Told(tmp_path).is_news(FAILED, settled=5, at=0)


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """What is told is told within this process all the same."""
    told = Told(tmp_path / "gone")
    told.remember(FAILED, settled=5, at=0)
    assert not told.is_news(FAILED, settled=5, at=0)
