"""A build: its files, their bytes, and what is left when it cannot be written."""

import hashlib
import resource
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dataset.dataset_support import CHAT, built, candidate_of, candidate_with, lines_of, row_of, spec_of

from tunemill.dataset import check_file, check_pair, is_current, read_report
from tunemill.errors import RecipeError, RunFolderUnwritable
from tunemill.model import Candidate, Completion
from tunemill.recipe.sections import ChatTrain, CleanSection, RejectRule

SPLIT = ChatTrain(user="{{ topic }}", assistant="{{ story }}", validation_fraction=0.3, seed=7)
STRICT = CleanSection(min_chars=3, reject=[RejectRule(name="apology", matches="sorry")])
DATA = ("train.jsonl", "validation.jsonl", "rejects.jsonl", "inference.json")


def many(count: int = 60) -> list[Candidate]:
    texts = ["a good story", "sorry", "x", "another good story"]
    return [
        candidate_of(f"{texts[number % 4]} {number // 8}"[: 1 + number], position=number) for number in range(count)
    ]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_candidate_is_in_exactly_one_file(tmp_path: Path) -> None:
    """candidates = train + validation + rejects, in the files as in the figures."""
    result = built(many(), tmp_path, spec_of(SPLIT, STRICT))
    figures = result.figures
    train, validation, rejects = (lines_of(tmp_path / name) for name in DATA[:3])
    assert (len(train), len(validation), len(rejects)) == (figures.train, figures.validation, figures.rejected)
    assert len(train) + len(validation) + len(rejects) == figures.candidates == 60
    assert min(len(train), len(validation), len(rejects)) > 0


def test_a_reject_has_its_row_rule_detail_and_texts(tmp_path: Path) -> None:
    """The texts are as the provider sent them, of every step."""
    draft, story = Completion(text=" draft ", finish_reason="stop"), Completion(text="so sorry", finish_reason="stop")
    candidate = candidate_with(draft, story, position=4, sample=2)
    built([candidate], tmp_path, spec_of(clean=STRICT))
    assert lines_of(tmp_path / "rejects.jsonl") == [
        {
            "row": candidate.row.id,
            "position": 4,
            "sample": 2,
            "rule": "apology",
            "step": None,
            "detail": "matches 'sorry' at character 4",
            "texts": {"draft1": " draft ", "story": "so sorry"},
        }
    ]


def test_a_reject_of_a_recipe_without_steps_shows_the_row(tmp_path: Path) -> None:
    """There is no completion to look at, so the fields stand there."""
    built([candidate_of(row=row_of(q="Why?", a=""))], tmp_path, spec_of(ChatTrain(user="{{ q }}", assistant="{{ a }}")))
    (line,) = lines_of(tmp_path / "rejects.jsonl")
    assert (line["rule"], line["fields"], line["texts"]) == ("empty", {"q": "Why?", "a": ""}, {})


def test_a_reject_that_json_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    """Half a surrogate pair becomes a question mark in rejects.jsonl."""
    built([candidate_of("a\ud800b")], tmp_path)
    (line,) = lines_of(tmp_path / "rejects.jsonl")
    assert (line["rule"], line["texts"]) == ("not_json", {"story": "a?b"})


def test_the_first_of_equal_examples_is_kept_and_the_others_name_it(tmp_path: Path) -> None:
    """A duplicate is one whole example again; the same answer to another prompt is none."""
    first = row_of(topic="rain", n=1)
    rows = [first, row_of(topic="rain", n=2), row_of(topic="snow", n=3)]
    candidates = [candidate_of("A plot.", position=position, row=row) for position, row in enumerate(rows)]
    again = candidate_of("A plot.", position=2, sample=1, row=rows[2])
    assert built([*candidates, again], tmp_path).figures.train == 2
    details = [str(line["detail"]) for line in lines_of(tmp_path / "rejects.jsonl")]
    assert details == [
        f"repeats the example of row {first.id} (number 1 of the source) word for word",
        "repeats an earlier sample of the same row word for word",
    ]


def test_the_same_candidates_give_the_same_bytes(tmp_path: Path) -> None:
    """Into an empty folder, and over what another recipe left behind."""
    fresh, used = tmp_path / "fresh", tmp_path / "used"
    fresh.mkdir()
    used.mkdir()
    built(many(30), used, spec_of(CHAT, fingerprint="other"))
    built(many(), fresh, spec_of(SPLIT, STRICT))
    built(many(), used, spec_of(SPLIT, STRICT))
    assert bytes_of(fresh) == bytes_of(used)


def test_no_validation_file_is_left_behind(tmp_path: Path) -> None:
    """Without a fraction there is none, and the one of an earlier build is removed."""
    built(many(), tmp_path, spec_of(SPLIT, STRICT))
    assert (tmp_path / "validation.jsonl").exists()
    result = built(many(), tmp_path, spec_of(CHAT, STRICT))
    assert not (tmp_path / "validation.jsonl").exists()
    assert "validation.jsonl" not in result.files


def test_no_candidates_make_an_empty_training_file(tmp_path: Path) -> None:
    """Nothing came, nothing is kept, and the report can still be written."""
    figures = built([], tmp_path).figures
    assert (figures.candidates, figures.kept) == (0, 0)
    assert (tmp_path / "train.jsonl").read_bytes() == b""
    assert (tmp_path / "report.html").exists()


def test_the_files_are_valid_and_do_not_overlap(tmp_path: Path) -> None:
    """What build writes passes check."""
    candidates = [candidate_of(f"A story {number}.", position=number) for number in range(100)]
    built(candidates, tmp_path, spec_of(SPLIT))
    train, validation = tmp_path / "train.jsonl", tmp_path / "validation.jsonl"
    assert check_file(train).is_valid
    assert check_file(validation).is_valid
    assert check_pair(train, validation).shared_prompts == 0


def test_the_result_records_the_files_as_they_are(tmp_path: Path) -> None:
    """Sizes, lines and SHA-256, in the result and in report.json."""
    result = built(many(), tmp_path, spec_of(SPLIT, STRICT))
    for name, record in result.files.items():
        content = (tmp_path / name).read_bytes()
        assert (record.size, record.lines) == (len(content), content.count(b"\n"))
        assert record.sha256 == hashlib.sha256(content).hexdigest()
    recorded = {name: record.to_json() for name, record in result.files.items()}
    assert read_report(tmp_path)["files"] == recorded
    assert set(recorded) == {*DATA, "report.html"}


def test_a_source_that_breaks_leaves_the_old_dataset(tmp_path: Path) -> None:
    """Whatever the candidates raise passes through, and nothing was changed or left lying about."""
    built(many(), tmp_path, spec_of(SPLIT, STRICT))
    before = bytes_of(tmp_path)

    def breaking() -> Iterator[Candidate]:
        yield from many(10)
        raise OSError("the journal is gone")

    with pytest.raises(OSError, match="the journal is gone"):
        built(breaking(), tmp_path, spec_of(CHAT))
    assert bytes_of(tmp_path) == before


def test_a_malformed_recipe_leaves_the_old_dataset(tmp_path: Path) -> None:
    """The mistake is found before anything is written."""
    with pytest.raises(RecipeError):
        built(many(), tmp_path, spec_of(clean=CleanSection(reject=[RejectRule(name="x", matches="(")])))
    assert bytes_of(tmp_path) == {}


def test_a_folder_that_is_not_there_is_unwritable(tmp_path: Path) -> None:
    """One message with the file and the reason."""
    with pytest.raises(RunFolderUnwritable, match=r"train\.jsonl: cannot be written"):
        built(many(), tmp_path / "gone")


def test_a_full_disk_leaves_the_old_dataset(tmp_path: Path) -> None:
    """A write that fails in the middle is RunFolderUnwritable; old files stay, temporary ones go.

    The limit on a file's size stands for a full disk: the kernel refuses the write in the same place.
    """
    built(many(), tmp_path, spec_of(SPLIT, STRICT))
    before = bytes_of(tmp_path)
    large = (candidate_of("long " * 2_000 + str(number), position=number) for number in range(400))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
        with pytest.raises(RunFolderUnwritable, match=r"train\.jsonl"):
            built(large, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert bytes_of(tmp_path) == before


def test_candidates_are_consumed_one_by_one(tmp_path: Path) -> None:
    """A build holds no rows: each candidate is let go before the next one is asked for."""
    alive = 0
    most = 0

    class Counted(str):
        __slots__ = ()

        def __new__(cls, text: str) -> "Counted":
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls, text)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    source = (candidate_of(Counted(f"story {number} " + "x" * 50), position=number) for number in range(3_000))
    built(source, tmp_path)
    assert most < 30


@given(data=st.binary(max_size=60))
def test_is_current_survives_any_report(data: bytes) -> None:
    """Whatever stands in report.json, the answer is no and not an exception."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "report.json").write_bytes(data)
        assert not is_current(Path(name), "f1")


def test_a_build_is_current_until_something_changes(tmp_path: Path) -> None:
    """Another fingerprint, a changed byte, a missing file or a stale validation file: build again."""
    built(many(), tmp_path, spec_of(CHAT, STRICT))
    assert is_current(tmp_path, "f1")
    assert not is_current(tmp_path, "f2")
    (tmp_path / "validation.jsonl").write_bytes(b"")
    assert not is_current(tmp_path, "f1")
    (tmp_path / "validation.jsonl").unlink()
    content = (tmp_path / "train.jsonl").read_bytes()
    (tmp_path / "train.jsonl").write_bytes(content.replace(b"good", b"evil"))
    assert not is_current(tmp_path, "f1")
    (tmp_path / "train.jsonl").unlink()
    assert not is_current(tmp_path, "f1")
    (tmp_path / "train.jsonl").write_bytes(content)
    assert is_current(tmp_path, "f1")
