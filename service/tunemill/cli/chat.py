"""`chat`: one question after the other to the tuned model, each in the format that it was trained on."""

import asyncio
import os
import sys

from tunemill.app.chatting import Talker, talking
from tunemill.app.folder import existing
from tunemill.app.open_run import reading
from tunemill.cli.output import page, talk
from tunemill.telemetry import harmless

PROMPT = "you> "


def chat_command(name: str, model: str | None, *, max_tokens: int) -> None:
    """Read lines from stdin until it ends; print answers on stdout."""
    asyncio.run(_chat(name, model, max_tokens))


async def _chat(name: str, model: str | None, max_tokens: int) -> None:
    with reading(existing(name)) as run:
        async with talking(run, os.environ, model=model, max_tokens=max_tokens) as talker:
            talk(f"{talker.model}: {talker.note}")
            await _converse(talker)


async def _converse(talker: Talker) -> None:
    console, interactive = page(), sys.stdin.isatty()
    while True:
        if interactive:
            sys.stderr.write(PROMPT)
            sys.stderr.flush()
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            return
        if line.strip():
            answer = await talker.answer(line.rstrip("\n"))
            console.print(harmless(answer, chars_max=len(answer)), soft_wrap=True)
