"""How a run reaches its providers: the real ones by key and address, or the embedded server in the place of all."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

from tunemill.local.child import LocalServerChild
from tunemill.recipe import Recipe
from tunemill.settings import ProviderAccess, access_to

Access: TypeAlias = Callable[[str], ProviderAccess]


@asynccontextmanager
async def reachable(
    recipe: Recipe, names: Iterable[str], environment: Mapping[str, str], *, local: str | None
) -> AsyncIterator[Access]:
    """Access to the providers of these names, found before anything is sent. Raises ArgumentError for a missing key.

    `local` is the backend of the embedded server, which then runs as long as the context is open.
    """
    if local is None:
        found = {name: access_to(recipe, name, environment) for name in sorted(set(names))}
        yield found.__getitem__
        return
    async with LocalServerChild(["--backend", local]) as server:
        here = ProviderAccess(base_url=server.base_url, api_key="local")
        yield lambda _: here
