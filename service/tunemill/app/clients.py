"""Each provider's client in this process, made when there is something to send."""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

from tunemill.client.reach import Reach
from tunemill.clock import Clock
from tunemill.engine import Executor
from tunemill.model import Reply, Request

if TYPE_CHECKING:
    from tunemill.client.completions import CompletionsClient


class Clients:
    """What it takes to send is a third of all that a process loads, and one that finds everything answered needs none
    of it. Whoever is about to send first calls `load`: else the first request would wait for that in its own time."""

    __slots__ = ("_clock", "_of", "_reaches")

    def __init__(self, reaches: Mapping[str, Reach], clock: Clock) -> None:
        self._reaches = reaches
        self._clock = clock
        self._of: dict[str, CompletionsClient] = {}

    def load(self) -> None:
        """Make all of them, once. Raises UserError where a provider cannot be reached as the environment has it."""
        from tunemill.client.completions import CompletionsClient

        for name, reach in self._reaches.items():
            if name not in self._of:
                self._of[name] = CompletionsClient(
                    base_url=reach.base_url, api_key=reach.api_key, connections=reach.connections, clock=self._clock
                )

    def executor(self, name: str) -> Executor:
        """Sends to this provider; its client is made by then."""
        clients = self._of

        def send(request: Request, timeout_s: float) -> Awaitable[Reply]:
            return clients[name].send(request, timeout_s)

        return send

    def be_patient(self, provider: str, model: str, *, is_patient: bool) -> None:
        """See `CompletionsClient`."""
        self._of[provider].be_patient(model, is_patient=is_patient)

    async def aclose(self) -> None:
        """Close those that were made."""
        for client in self._of.values():
            await client.aclose()
