"""How a provider is reached, in what everybody may load who does not send."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where a provider is, the key for it (in no representation), and how many connections at most (0: no limit)."""

    base_url: str
    api_key: str = field(repr=False)
    connections: int
