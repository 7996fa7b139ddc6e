"""An executor process: reads what to send from its socket, sends it, says what came of it. It decides nothing.

Its life is its socket's: it ends when the brain closes it, or dies. Signals that a terminal or a supervisor sends to
everybody are the brain's to answer, which may want what is in flight to come to its end.
"""

import asyncio
import signal
import socket
from collections.abc import Sequence

from tunemill import loop
from tunemill.client.completions import CompletionsClient
from tunemill.client.processes import messages
from tunemill.client.processes.link import Item, Link
from tunemill.clock import SystemClock
from tunemill.files import raise_open_files_limit

EXIT_GRACE_S = 5
FILES_BESIDE_CONNECTIONS = 64
CONNECTIONS_EVER = 100_000  # as many as a recipe may want at once: the concurrency may be raised in mid-run
_STDIN = 0


def main() -> None:
    """Serve the socket that is our standard input, until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    loop.run(_serve(socket.socket(fileno=_STDIN)))


async def _serve(brain: socket.socket) -> None:
    async with asyncio.TaskGroup() as tasks:
        serving = _Serving(tasks)
        await asyncio.get_running_loop().create_unix_connection(serving.make_link, sock=brain)
        await serving.is_over.wait()
        # Whatever keeps the process from ending (native code, a name server) must not keep it for good.
        signal.alarm(EXIT_GRACE_S)
        await serving.end()


class _Serving:
    """The attempts that are under way, by number."""

    link: Link

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.is_over = asyncio.Event()
        self._tasks = tasks
        self._clients: dict[str, CompletionsClient] = {}
        self._attempts: dict[int, asyncio.Task[None]] = {}
        self._is_greeted = False

    def make_link(self) -> Link:
        self.link = Link(receive=self._receive, lost=self.is_over.set)
        return self.link

    async def end(self) -> None:
        """Nobody waits for any of it any more."""
        for task in self._attempts.values():
            task.cancel()
        for client in self._clients.values():
            await client.aclose()

    def _receive(self, items: Sequence[Item], payload: memoryview) -> None:
        if not self._is_greeted:
            self._is_greeted = True
            self._greet(items[0])
            items = items[1:]
        for order in messages.read_orders(items, payload):
            match order:
                case messages.Attempt():
                    self._attempts[order.number] = self._tasks.create_task(self._attempt(order))
                case messages.Patience():
                    self._clients[order.provider].be_patient(order.model, is_patient=order.is_patient)
                case messages.Cancelled():
                    task = self._attempts.pop(order.number, None)
                    if task is not None:
                        task.cancel()

    def _greet(self, item: Item) -> None:
        reaches = messages.read_greeting(item)
        raise_open_files_limit(FILES_BESIDE_CONNECTIONS + CONNECTIONS_EVER)
        clock = SystemClock()
        for name, reach in reaches.items():
            self._clients[name] = CompletionsClient(
                base_url=reach.base_url, api_key=reach.api_key, connections=reach.connections, clock=clock
            )
        self.link.post(messages.READY)

    async def _attempt(self, order: messages.Attempt) -> None:
        reply = await self._clients[order.provider].attempt(order.path, order.model, order.body, order.timeout_s)
        if self._attempts.pop(order.number, None) is not None:
            self.link.post(*messages.reply(order.number, reply))
