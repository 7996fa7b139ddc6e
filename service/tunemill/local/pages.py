"""Pages of a list as the API cuts them: `after` an id, at most `limit`, newest first."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunemill.local.replies import Reply, bad_request, json_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(ABC):
    """Whatever can be listed has an id and a JSON shape."""

    id: str

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """As the API lists it."""


def page(items: Iterable[Listed], query: Mapping[str, str], *, limit_default: int, limit_max: int) -> Reply:
    """One page of `items`, which are given oldest first; `order=asc` keeps that order.

    An `after` that is not in the list is answered with 400, so that a client cannot walk in circles.
    """
    ordered = list(items)
    if query.get("order", "desc") != "asc":
        ordered.reverse()
    limit = _limit(query.get("limit"), limit_default, limit_max)
    if isinstance(limit, Reply):
        return limit
    start = _start(ordered, query.get("after"))
    if isinstance(start, Reply):
        return start
    shown = ordered[start : start + limit]
    return json_reply(
        {
            "object": "list",
            "data": [item.to_json() for item in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": start + limit < len(ordered),
        }
    )


def _limit(text: str | None, default: int, most: int) -> int | Reply:
    if text is None:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        return bad_request(f"Invalid 'limit': expected an integer from 1 to {most}, got {text!r}.", param="limit")
    return int(text)


def _start(ordered: Sequence[Listed], after: str | None) -> int | Reply:
    if after is None:
        return 0
    for index, item in enumerate(ordered):
        if item.id == after:
            return index + 1
    return bad_request(f"Invalid 'after': no item has the id {after!r}.", param="after")
