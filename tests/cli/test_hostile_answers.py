"""Answers that attack whoever looks at them, in whole runs: live display, every log format, show and chat.

Nothing of them is obeyed by a terminal, a line of a log or of JSON stays one line, and the data stays what it is.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from tests.cli.cli_support import COMMAND, Shell, forked
from tests.support.simulator import Simulator

TEXTS = (
    "\x1b[2J\x1b[Hcleared \x1b[31mred \x1b]0;OWNED\x07 \x1b]52;c;Zm9yZ2Vk\x07 \x9b31mC1 bell\x07 \x1bc\x1b[?1049h",
    "<script>alert(1)</script><img src=x onerror=alert(1)> [bold]markup[/bold] [link=http://x]y[/link]",
    "right \u202eot left\u202c \u2066x\u2069 zero\u200bwidth \u2028 line\u2029 nel\x85 nul\x00 "
    '\x0b \x0c\r\ncr\r{"event":"x"}',
    "x" * 1_000_000,
    "e" + "\u0301" * 300 + " \u05d0\u05d1 \U0001f469\u200d\U0001f467 \U000e0041",
)
RECIPE = """
name = "hostile"
[source]
kind = "grid"
[source.axes]
genre = ["horror", "western", "musical", "noir"]
place = ["India", "France", "Egypt", "Peru", "Chad", "Oman"]
[[steps]]
name = "plot"
model = "gpt-4o-mini"
prompt = "Plot a {{ genre }} film in {{ place }}."
[steps.params]
max_tokens = 300000
[train]
user = "{{ genre }} in {{ place }}"
assistant = "{{ plot }}"
"""
ROWS = 24


@pytest.fixture(scope="module")
def hostile_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    texts = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    texts.write_bytes(b"".join(orjson.dumps(text, option=orjson.OPT_APPEND_NEWLINE) for text in TEXTS))
    with Simulator("--texts", str(texts)) as server:
        yield server


@pytest.fixture
def shell(
    tmp_path: Path,
    hostile_server: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    shell = Shell(tmp_path, hostile_server.base_url, monkeypatch, capsys)
    shell.write("hostile.toml", RECIPE)
    return shell


def _obeyed(text: str) -> set[str]:
    """What a terminal would obey, or a program take for the end of a line, but for the newline itself."""
    return {f"U+{ord(character):04X}" for character in text if not character.isprintable() and character != "\n"}


@pytest.mark.torture
@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_log_holds_none_of_it_in_any_form(form: str, shell: Shell) -> None:
    """At the level that says most; and the pilot's answers, which are printed beside it, are harmless."""
    _run_and_look(shell, form)


def test_what_is_shown_is_harmless_and_the_data_is_whole(shell: Shell) -> None:
    """`show` for people leaves out what a terminal obeys; its JSON says it in escapes, and so loses nothing."""
    _run_and_look(shell, "logfmt")
    people, programs = shell.run("show", "hostile"), shell.run("show", "hostile", "--json")
    assert _obeyed(people.out) == _obeyed(programs.out) == set()
    assert len(programs.out.splitlines()) == ROWS
    assert {line["text"] for line in programs.lines()} == set(TEXTS)  # every one of them came
    talked = forked(
        "chat",
        "hostile",
        "--model",
        "any",
        "--max-tokens",
        "300000",
        cwd=shell.cwd,
        env=shell.env(),
        stdin="a\nb\n",
    )
    assert talked.code == 0
    assert _obeyed(talked.out + talked.err) == set()


def test_the_live_display_draws_and_is_not_drawn_upon(shell: Shell) -> None:
    """All that a terminal gets is what draws the picture: colours, lines cleared, the cursor moved and hidden."""
    screen = _on_a_terminal([COMMAND, "run", "hostile.toml", "--limit", str(ROWS)], shell)
    assert f"{ROWS}/{ROWS}" in screen
    sequences = set(re.findall(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|.)", screen))
    drawn = re.compile(r"\x1b\[(?:[\d;]*m|[12]?K|\d*A|\?25[lh])")
    assert [sequence for sequence in sequences if not drawn.fullmatch(sequence)] == []
    rest = re.sub(drawn, "", screen).replace("\r", "")
    assert _obeyed(rest) == set()
    assert "OWNED" not in rest


def _run_and_look(shell: Shell, form: str) -> None:
    ending = shell.run("run", "hostile.toml", "--limit", str(ROWS), "--log-format", form, "--log-level", "debug")
    assert ending.code == 0
    assert _obeyed(ending.err + ending.out) == set()
    assert ending.err.count("request_completed") == ROWS
    assert not [word for word in ("OWNED", "alert", "cleared", "xxxx") if word in ending.err]
    assert "[bold]" in ending.out  # markup is text


def _on_a_terminal(command: list[str], shell: Shell) -> str:
    """All that the command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = shell.env(TERM="xterm-256color", COLUMNS="")
    process = subprocess.Popen(command, cwd=shell.cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # nobody has the other end any more
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    assert process.wait(60) == 0, sys.platform
    return written.decode()
