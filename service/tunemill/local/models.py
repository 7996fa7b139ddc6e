"""Which models there are: the listed ones and the tuned ones; and which names are answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunemill.local.replies import Reply, json_reply, model_not_found

LISTED_MODELS = (
    "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-4o", "gpt-4o-2024-08-06", "gpt-4.1-nano", "gpt-4.1-nano-2025-04-14",
    "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "gpt-4.1", "gpt-4.1-2025-04-14", "gpt-3.5-turbo-instruct",
    "babbage-002", "davinci-002",
)  # fmt: skip
_LISTED_CREATED = 1_721_172_741
_TUNED_PREFIX = "ft:"
_TUNED_HERE = ":simulated:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One entry of the list. `shutdown_date` (YYYY-MM-DD) is when it stops; None where nobody has said."""

    id: str
    owner: str
    created: int
    shutdown_date: str | None = None

    def to_json(self) -> dict[str, object]:
        """As the API lists it."""
        listed: dict[str, object] = {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": self.owner,
        }
        return listed if self.shutdown_date is None else {**listed, "shutdown_date": self.shutdown_date}


class Models:
    """The listed models, plus tuned ones as they come. `only` lists the sole names that are answered; empty: any is."""

    def __init__(
        self, listed: Sequence[str], *, only: Sequence[str] = (), shutdown_dates: Mapping[str, str] | None = None
    ) -> None:
        dates = shutdown_dates or {}
        self._models = {
            name: Model(id=name, owner="system", created=_LISTED_CREATED, shutdown_date=dates.get(name))
            for name in dict.fromkeys((*(only or listed), *dates))
        }
        self._any = not only

    def answers(self, name: str) -> bool:
        """Whether a completion by this model is answered.

        A tuned model must have been tuned here, or bear a simulated one's name: whoever chats with it tomorrow does so
        with another server than the one that "tuned" it.
        """
        if name in self._models:
            return True
        return self._any and (not name.startswith(_TUNED_PREFIX) or _TUNED_HERE in name)

    def add_tuned(self, name: str, created: int) -> None:
        """A fine-tuning job has ended with this model."""
        self._models[name] = Model(id=name, owner="org-simulated", created=created)

    def listing(self) -> Reply:
        """GET /v1/models"""
        return json_reply({"object": "list", "data": [model.to_json() for model in self._models.values()]})

    def retrieve(self, name: str) -> Reply:
        """GET /v1/models/NAME"""
        model = self._models.get(name)
        return model_not_found(name) if model is None else json_reply(model.to_json())
