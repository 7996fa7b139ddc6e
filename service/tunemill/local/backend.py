"""The seam between the server and who makes the texts: one method, a call in and an answer out."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from tunemill.local.answers import Answer
from tunemill.local.calls import Call
from tunemill.local.chance import Chance
from tunemill.local.replies import Reply

Gone: TypeAlias = Callable[[], bool]


class Backend(Protocol):
    """Makes answers. A `Reply` instead of an answer says that the call cannot be answered, and is not billed."""

    @property
    def name(self) -> str:
        """Of the backend, as the ready line says it."""

    @property
    def default_model(self) -> str:
        """The model that answers when nothing else is said."""

    @property
    def models(self) -> Sequence[str]:
        """What GET /v1/models lists before anything was tuned."""

    async def produce(self, call: Call, *, body_chance: Chance, draw_chance: Chance, gone: Gone) -> Answer | Reply:
        """Answer `call`. `gone` tells whether the client has left, which may be reason enough to stop."""

    def close(self) -> None:
        """Let go of what is held; nothing is produced afterwards."""
