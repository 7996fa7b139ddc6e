"""What a provider's refusal means, decided once: status, headers and JSON error become a `Failure` and `LimitHints`.

The rules, first match wins; nothing is ever matched on an error's text:

    402, 429 with insufficient_quota           QUOTA_EXHAUSTED   stop the run
    429                                        RATE_LIMITED      slow down
    401, 403                                   BAD_KEY           stop the run
    404, 3xx, or code model_not_found          MODEL_UNKNOWN     stop the run
    5xx or 408/409/425 as the provider's error OVERLOADED / SERVER_ERROR   try again, not billed
    5xx or 408 as anybody else's page          GATEWAY_ERROR     try again, may have been billed
    other 4xx                                  BAD_REQUEST       this request will never work
"""

import email.utils
from collections.abc import Mapping
from functools import lru_cache

import orjson

from tunemill.model import Failure, FailureKind, Json, LimitedBy, LimitHints

MESSAGE_CHARS_MAX = 400
_COUNT_MAX = 2**53  # more than anybody counts; larger numbers are no longer exact

_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"})
_LIMIT_CODES = {
    LimitedBy.REQUESTS: frozenset({"requests", "request_limit_exceeded", "requests_per_minute"}),
    LimitedBy.TOKENS: frozenset({"tokens", "token_limit_exceeded", "tokens_per_minute", "token_quota_exceeded"}),
}
_MODEL_CODES = frozenset({"model_not_found", "DeploymentNotFound", "model_not_available"})


def failure_of(status: int, headers: Mapping[str, str], body: bytes, *, wall: float, secret: str) -> Failure:
    """Class of a reply whose status is not 2xx. `wall` (Unix seconds) is what an HTTP date is compared with."""
    error = _error_object(body)
    codes = {text for text in (_text(error, "code"), _text(error, "type")) if text}
    kind = _kind_of(status, codes, is_providers_own=bool(error))
    return Failure(
        kind=kind,
        message=_message(status, error, secret),
        may_be_billed=kind is FailureKind.GATEWAY_ERROR,
        status=status,
        retry_after_s=retry_after_s(headers, wall=wall),
        limited_by=_limited_by(codes) if kind is FailureKind.RATE_LIMITED else None,
    )


def _limited_by(codes: set[str]) -> LimitedBy | None:
    """The one limit that type or code names."""
    named = [limit for limit in LimitedBy if codes & _LIMIT_CODES[limit]]
    return named[0] if len(named) == 1 else None


def _kind_of(status: int, codes: set[str], *, is_providers_own: bool) -> FailureKind:
    if status == 402 or (status == 429 and codes & _QUOTA_CODES):
        return FailureKind.QUOTA_EXHAUSTED
    if status == 429:
        return FailureKind.RATE_LIMITED
    if status in {401, 403}:
        return FailureKind.BAD_KEY
    if status == 404 or status < 400 or codes & _MODEL_CODES:
        return FailureKind.MODEL_UNKNOWN
    if status >= 500 or status in {408, 409, 425}:
        if not is_providers_own:
            return FailureKind.GATEWAY_ERROR
        return FailureKind.SERVER_ERROR if status in {500, 501, 502} else FailureKind.OVERLOADED
    return FailureKind.BAD_REQUEST


def retry_after_s(headers: Mapping[str, str], *, wall: float) -> float | None:
    """Seconds that the provider asks us to wait: `retry-after-ms`, then `Retry-After` as seconds or as an HTTP date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, TypeError, OverflowError):
        return None


def hints_of(headers: Mapping[str, str]) -> LimitHints:
    """The `x-ratelimit-*` headers; gateways that send -1, 0 or garbage as a limit have said nothing."""
    return LimitHints(
        requests_per_minute=_limit(headers.get("x-ratelimit-limit-requests")),
        tokens_per_minute=_limit(headers.get("x-ratelimit-limit-tokens")),
        requests_remaining=_whole(headers.get("x-ratelimit-remaining-requests")),
        tokens_remaining=_whole(headers.get("x-ratelimit-remaining-tokens")),
    )


def readable(text: str, secret: str) -> str:
    """A foreign message on one line, cut, without the key, and without lone surrogates, which cannot be written."""
    if secret:
        text = text.replace(secret, "[key]")
    text = " ".join(text.encode(errors="replace").decode().split())
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 3] + "..."


def _error_object(body: bytes) -> Mapping[str, Json]:
    """The provider's own JSON error, as {"error": {...}} or {"error": "..."}; empty where it is neither."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if isinstance(error, dict):
        return error or {"message": ""}
    return {"message": error} if isinstance(error, str) else {}


def _message(status: int, error: Mapping[str, Json], secret: str) -> str:
    said = _text(error, "message") or "no explanation that tunemill understands"
    code = _text(error, "code") or _text(error, "type")
    return readable(f"HTTP {status}" + (f" ({code})" if code else "") + f": {said}", secret)


def _text(error: Mapping[str, Json], key: str) -> str | None:
    value = error.get(key)
    return value if isinstance(value, str) and value else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


@lru_cache(maxsize=1024)  # most say the same in every reply
def _whole(text: str | None) -> int | None:
    value = _number(text)
    return None if value is None or value > _COUNT_MAX else int(value)


def _limit(text: str | None) -> int | None:
    value = _whole(text)
    return value or None
