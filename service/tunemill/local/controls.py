"""What can be changed while the server runs: limits, latency, faults, and the two kinds of outage."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunemill.local.admission import COMMON, Admission, Rule
from tunemill.local.faults import NO_FAULTS, FaultRates
from tunemill.local.limits import NO_LIMITS, Limiter, Limits

_MODELS_MAX = 10_000  # a client that invents model names must not grow the server without end


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force. `others_share` of each limit is taken by somebody else with the same key. `paused` accepts
    every request and answers none; `refusing` answers 503 to all."""

    limits: Limits = NO_LIMITS
    admission: Admission = COMMON
    others_share: float = 0.0
    latency_s: float = 0.0
    latency_sigma: float = 0.0
    output_tokens: int = 200
    quota_usd: float = math.inf
    faults: FaultRates = NO_FAULTS
    paused: bool = False
    refusing: bool = False

    def to_json(self) -> dict[str, object]:
        """As `/control` shows them; a limit that is not there is null."""
        return {
            "requests_per_minute": _finite(self.limits.requests_per_minute),
            "tokens_per_minute": _finite(self.limits.tokens_per_minute),
            "admission": self.admission.rule.value,
            "characters_per_token": self.admission.characters_per_token,
            "limits_announced": self.admission.announced,
            "others_share": self.others_share,
            "latency_s": self.latency_s,
            "latency_sigma": self.latency_sigma,
            "output_tokens": self.output_tokens,
            "quota_usd": _finite(self.quota_usd),
            "faults": {kind.value: rate for kind, rate in self.faults.rates.items()},
            "paused": self.paused,
            "refusing": self.refusing,
        }


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with `changes` (the keys of `Settings.to_json`); `faults` are replaced as a whole.

    Raises ValueError naming the key that is unknown or whose value does not fit.
    """
    for key, value in changes.items():
        settings = _changed_one(settings, key, value)
    return settings


def _changed_one(settings: Settings, key: str, value: Any) -> Settings:
    match key:
        case "requests_per_minute":
            return replace(settings, limits=replace(settings.limits, requests_per_minute=_limit(key, value)))
        case "tokens_per_minute":
            return replace(settings, limits=replace(settings.limits, tokens_per_minute=_limit(key, value)))
        case "admission" | "characters_per_token" | "limits_announced":
            return replace(settings, admission=_admission(settings.admission, key, value))
        case "others_share":
            return replace(settings, others_share=min(1.0, _number(key, value)))
        case "quota_usd":
            return replace(settings, quota_usd=math.inf if value is None else _number(key, value))
        case "latency_s":
            return replace(settings, latency_s=_number(key, value))
        case "latency_sigma":
            return replace(settings, latency_sigma=_number(key, value))
        case "output_tokens":
            return replace(settings, output_tokens=max(1, int(_number(key, value, above=0))))
        case "faults":
            return replace(settings, faults=_faults(value))
        case "paused":
            return replace(settings, paused=_flag(key, value))
        case "refusing":
            return replace(settings, refusing=_flag(key, value))
        case _:
            raise ValueError(f"{key!r} cannot be changed; there are: {', '.join(settings.to_json())}")


def _limit(key: str, value: Any) -> float:
    return math.inf if value is None else _number(key, value, above=0)


def _admission(admission: Admission, key: str, value: Any) -> Admission:
    match key:
        case "admission":
            return replace(admission, rule=_rule(value))
        case "characters_per_token":
            return replace(admission, characters_per_token=_number(key, value, above=0))
        case _:
            return replace(admission, announced=_flag(key, value))


def _rule(value: Any) -> Rule:
    rules = [rule.value for rule in Rule]
    if value not in rules:
        raise ValueError(f"admission must be one of {', '.join(rules)}, not {value!r}")
    return Rule(value)


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false, not {value!r}")
    return value


def _faults(value: Any) -> FaultRates:
    if not isinstance(value, Mapping):
        raise ValueError(f"faults must be an object of rates by kind, not {value!r}")
    return FaultRates.parse([f"{kind}={rate}" for kind, rate in value.items()])


def _number(key: str, value: Any, *, above: float = -1.0) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0 or value <= above:
        raise ValueError(f"{key} must be a number {'above 0' if above == 0 else 'of at least 0'}, not {value!r}")
    return float(value)


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


class Controls:
    """The settings in force and what hangs on them: one limiter a model, and who waits for a pause to end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._limiters: dict[str, Limiter] = {}
        self._running = asyncio.Event()
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Put other settings in force. Limits that change start with full buckets."""
        if settings.limits != self.settings.limits:
            self._limiters.clear()
        for limiter in self._limiters.values():
            limiter.others_share = settings.others_share
        self.settings = settings
        if settings.paused:
            self._running.clear()
        else:
            self._running.set()

    def limiter(self, model: str, now: float) -> Limiter:
        """The model's limiter; models are limited apart, as providers do it."""
        limiter = self._limiters.get(model)
        if limiter is None:
            if len(self._limiters) >= _MODELS_MAX:
                self._limiters.clear()
            limiter = self._limiters[model] = Limiter(self.settings.limits, now)
            limiter.others_share = self.settings.others_share
        return limiter

    async def unpaused(self) -> None:
        """Return when the server is not paused, at once where it is not."""
        await self._running.wait()
