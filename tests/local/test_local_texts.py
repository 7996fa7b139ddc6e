"""The simulator answers with what somebody wrote, for who wants to see what becomes of it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.simulator import Simulator
from tests.support.wire import chat

TEXTS = ("<script>alert(1)</script>", "a\u2028b\x1b[31m\u202e", "x" * 4_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """Answers with the texts."""
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    file.write_text("\n".join(map(json.dumps, TEXTS)), encoding="utf-8")
    with Simulator("--texts", str(file)) as simulator:
        yield simulator


def test_answers_are_drawn_from_the_file(server: Simulator) -> None:
    """Each of them as it is written there, and the same for the same body."""
    said = [
        chat(server.port, f"Say {number}", max_tokens=1_000).json()["choices"][0]["message"]["content"]
        for number in range(40)
    ]
    assert set(said) == set(TEXTS)
    again = chat(server.port, "Say 7", max_tokens=1_000).json()["choices"][0]
    assert (again["message"]["content"], again["finish_reason"]) == (said[7], "stop")


def test_a_text_above_the_bound_is_cut_off(server: Simulator) -> None:
    """As any other answer that is longer than max_tokens; the tokens are those of what is left."""
    replies = [chat(server.port, f"Say {number}", max_tokens=10).json() for number in range(20)]
    cut = [reply for reply in replies if reply["choices"][0]["finish_reason"] == "length"]
    assert cut
    assert {reply["choices"][0]["message"]["content"] for reply in cut} == {"x" * 40}
    assert {reply["usage"]["completion_tokens"] for reply in cut} == {10}


@pytest.mark.parametrize("content", [None, b"not json", b'"fine"\n17'])
def test_a_file_without_texts_is_a_mistake(tmp_path: Path, content: bytes | None) -> None:
    """One message that names the flag and the file."""
    file = tmp_path / "texts"
    if content is not None:
        file.write_bytes(content)
    ended = subprocess.run(
        [sys.executable, "-m", "tunemill.local", "--port", "0", "--texts", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert f"--texts {file}: " in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
