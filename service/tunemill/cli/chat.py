"""`chat`: one question after the other to the tuned model, each in the format that it was trained on."""

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import AsyncIterator

from tunemill.app.chatting import Talker, talking
from tunemill.app.folder import existing
from tunemill.app.open_run import reading
from tunemill.cli.output import print_line, talk
from tunemill.telemetry import harmless

PROMPT = "you> "
_STDIN = 0
_PIECE_BYTES = 65_536


def chat_command(name: str, model: str | None, *, max_tokens: int, backend: str) -> None:
    """Read lines from stdin until it ends; print answers on stdout."""
    asyncio.run(_chat(name, model, max_tokens, backend))


async def _chat(name: str, model: str | None, max_tokens: int, backend: str) -> None:
    with reading(existing(name)) as run:
        async with talking(run, os.environ, model=model, max_tokens=max_tokens, backend=backend) as talker:
            for line in talker.about():
                talk(line)
            await _converse(talker)


async def _converse(talker: Talker) -> None:
    interactive = sys.stdin.isatty()
    _ask(interactive)
    async for line in _lines():
        if line.strip():
            answer = await talker.answer(line)
            print_line(harmless(answer, chars_max=len(answer)))
            sys.stdout.flush()
        _ask(interactive)


def _ask(interactive: bool) -> None:
    if interactive:
        sys.stderr.write(PROMPT)
        sys.stderr.flush()


async def _lines() -> AsyncIterator[str]:
    """The lines of stdin, as they come. The thread that waits for them never holds up the end of the process, which
    `sys.stdin` in a thread would: its lock is wanted then."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        piece = b"..."
        while piece:
            try:
                piece = os.read(_STDIN, _PIECE_BYTES)
            except OSError:
                piece = b""
            loop.call_soon_threadsafe(arrived.put_nowait, piece)

    threading.Thread(target=read, daemon=True).start()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    while piece := await arrived.get():
        *lines, rest = (rest + decoder.decode(piece)).split("\n")
        for line in lines:
            yield line.removesuffix("\r")
    if rest.strip():
        yield rest
