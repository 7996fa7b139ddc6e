"""Reads a provider's raw answer (chat or legacy completion) into a `Completion`.

Nothing here raises for what a provider may send: an answer without choices, text or usage is a completion with less in
it. Figures that make no sense (negative, not a number) count as not sent.
"""

from collections.abc import Sequence

from tunemill.model import Completion, Json, JsonObject, Usage

MISSING = "missing"


def parse_completion(raw: JsonObject, provider_request_id: str | None = None, *, with_usage: bool = True) -> Completion:
    """The first choice's text, reason, refusal and tool calls, and the usage of the whole answer. `with_usage` False
    leaves that out, for who reads a million answers that were counted long ago."""
    choices = raw.get("choices")
    choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
    message = _object(choice.get("message"))
    text = message.get("content") if message else choice.get("text")
    refusal, tool_calls = message.get("refusal"), message.get("tool_calls")
    return Completion(
        text=text if isinstance(text, str) else _text_of(text),
        finish_reason=_string(choice.get("finish_reason")) or MISSING,
        refusal=_string(refusal) if refusal else None,
        tool_calls=_sequence(tool_calls) if tool_calls else (),
        usage=parse_usage(raw.get("usage")) if with_usage else None,
        model=_string(raw.get("model")),
        provider_request_id=provider_request_id,
    )


def parse_usage(raw: Json) -> Usage | None:
    """Tokens billed, or None where the provider did not say (which is not the same as zero)."""
    usage = _object(raw)
    tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    cached = _count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")) or 0
    reasoning = _count(_object(usage.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    return Usage(
        input=tokens_in, output=tokens_out, cached_input=min(cached, tokens_in), reasoning=min(reasoning, tokens_out)
    )


def outcome_of(completion: Completion) -> str:
    """One word for metrics and logs: "refusal", "empty", or the finish reason, from a closed set ("other")."""
    if completion.refusal is not None:
        return "refusal"
    if not completion.text.strip() and not completion.tool_calls and completion.finish_reason != "content_filter":
        return "empty"
    return completion.finish_reason if completion.finish_reason in _KNOWN_REASONS else "other"


_KNOWN_REASONS = frozenset({"stop", "length", "content_filter", "tool_calls", "function_call", MISSING})


def _text_of(content: Json) -> str:
    """The text parts of a list of parts joined."""
    return "".join(_string(_object(part).get("text")) or "" for part in _sequence(content))


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _sequence(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()


def _string(value: Json) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
