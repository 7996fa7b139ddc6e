"""What a provider's refusal means: tables of status, headers and bodies, and properties over arbitrary ones."""

import email.utils

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.client.translate import MESSAGE_CHARS_MAX, failure_of, hints_of, readable, retry_after_s
from tunemill.model import FailureKind, LimitHints

SECRET = "sk-0123456789abcdef"
WALL = 1_795_000_000.0
HTML = b"<html><body>502 Bad Gateway</body></html>"
K = FailureKind


def error(code: str | None = None, kind: str | None = None, message: str = "It is so.") -> bytes:
    return orjson.dumps({"error": {"message": message, "type": kind, "code": code}})


TABLE: list[tuple[int, bytes, FailureKind]] = [
    (402, b"", K.QUOTA_EXHAUSTED),
    (402, HTML, K.QUOTA_EXHAUSTED),
    (429, error("insufficient_quota"), K.QUOTA_EXHAUSTED),
    (429, error(None, "insufficient_quota"), K.QUOTA_EXHAUSTED),
    (429, error("billing_hard_limit_reached"), K.QUOTA_EXHAUSTED),
    (429, error("rate_limit_exceeded", "requests"), K.RATE_LIMITED),
    (429, error("rate_limit_exceeded", "tokens"), K.RATE_LIMITED),
    (429, error(None, None, "insufficient_quota"), K.RATE_LIMITED),  # never by the text
    (429, HTML, K.RATE_LIMITED),
    (429, b"", K.RATE_LIMITED),
    (401, error("invalid_api_key"), K.BAD_KEY),
    (401, b"", K.BAD_KEY),
    (403, error(), K.BAD_KEY),
    (404, error("model_not_found"), K.MODEL_UNKNOWN),
    (404, HTML, K.MODEL_UNKNOWN),
    (400, error("model_not_found"), K.MODEL_UNKNOWN),
    (400, error("DeploymentNotFound"), K.MODEL_UNKNOWN),
    (301, b"", K.MODEL_UNKNOWN),
    (307, b"", K.MODEL_UNKNOWN),
    (500, error(), K.SERVER_ERROR),
    (501, error(), K.SERVER_ERROR),
    (502, error(), K.SERVER_ERROR),
    (503, error("overloaded"), K.OVERLOADED),
    (529, error(), K.OVERLOADED),
    (504, error(), K.OVERLOADED),
    (408, error(), K.OVERLOADED),
    (409, error(), K.OVERLOADED),
    (425, error(), K.OVERLOADED),
    (500, b'{"error":"overloaded"}', K.SERVER_ERROR),
    (500, b'{"error":{}}', K.SERVER_ERROR),
    (500, HTML, K.GATEWAY_ERROR),
    (502, HTML, K.GATEWAY_ERROR),
    (503, b"", K.GATEWAY_ERROR),
    (504, b"upstream timed out", K.GATEWAY_ERROR),
    (520, b"null", K.GATEWAY_ERROR),
    (500, b'{"error":null}', K.GATEWAY_ERROR),
    (500, b'{"error":[]}', K.GATEWAY_ERROR),
    (500, b'["error"]', K.GATEWAY_ERROR),
    (500, b'{"message":"Internal server error"}', K.GATEWAY_ERROR),  # as API gateways write it: not the provider's word
    (408, b"", K.GATEWAY_ERROR),
    (400, error("context_length_exceeded"), K.BAD_REQUEST),
    (400, b"", K.BAD_REQUEST),
    (413, HTML, K.BAD_REQUEST),
    (422, error(), K.BAD_REQUEST),
    (400, error("rate_limit_exceeded"), K.BAD_REQUEST),
]


@pytest.mark.parametrize(("status", "body", "kind"), TABLE)
def test_every_refusal_has_one_class(status: int, body: bytes, kind: FailureKind) -> None:
    """Status, then the error's code or type, decide; only a page that is somebody else's may have been billed."""
    failure = failure_of(status, {}, body, wall=WALL, secret=SECRET)
    assert failure.kind is kind
    assert failure.status == status
    assert failure.may_be_billed == (kind is K.GATEWAY_ERROR)
    assert failure.message.startswith(f"HTTP {status}")


def test_the_message_is_the_providers_own_with_its_code() -> None:
    """What the provider said, on one line, without the key."""
    body = error("invalid_api_key", message=f"Incorrect key:\n  {SECRET}.")
    assert (
        failure_of(401, {}, body, wall=WALL, secret=SECRET).message
        == "HTTP 401 (invalid_api_key): Incorrect key: [key]."
    )


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-other"]), st.text(max_size=30)),
    st.one_of(
        st.binary(max_size=60), st.text().map(lambda said: orjson.dumps({"error": {"message": said}}, default=str))
    ),
)
def test_nothing_that_a_server_says_raises(status: int, headers: dict[str, str], body: bytes) -> None:
    """Any status, headers and body make a failure whose message is short, on one line, and can be written down."""
    failure = failure_of(status, headers, body, wall=WALL, secret=SECRET)
    assert len(failure.message) <= MESSAGE_CHARS_MAX
    assert failure.message.isprintable() or failure.message.splitlines() == [failure.message]
    orjson.dumps(failure.message)
    assert failure.retry_after_s is None or failure.retry_after_s >= 0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after": email.utils.formatdate(WALL + 30, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(WALL - 30, usegmt=True)}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": " "}, None),
        ({"retry-after": "Wed, 99 Foo 99999 99:99:99 GMT"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds first, then seconds or a date; garbage is nothing, a date gone by is now."""
    assert retry_after_s(headers, wall=WALL) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_raises(text: str) -> None:
    """Whatever the header holds, it is a wait of at least 0 seconds or none."""
    seconds = retry_after_s({"retry-after": text}, wall=WALL)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("500", 500),
        ("500.0", 500),
        ("0", None),
        ("-1", None),
        ("", None),
        ("many", None),
        ("nan", None),
        ("1e999", None),
    ],
)
def test_a_limit_that_is_no_limit_says_nothing(text: str, limit: int | None) -> None:
    """Gateways send -1, 0 or garbage; what remains may really be 0."""
    headers = {f"x-ratelimit-{what}-{kind}": text for what in ("limit", "remaining") for kind in ("requests", "tokens")}
    hints = hints_of(headers)
    assert hints.requests_per_minute == hints.tokens_per_minute == limit
    assert hints.requests_remaining == hints.tokens_remaining == (0 if text == "0" else limit)


def test_no_headers_give_no_hints() -> None:
    """A server that says nothing about limits has said nothing."""
    assert hints_of({}) == LimitHints()


@given(st.text(), st.text(), st.text(min_size=3))
def test_a_key_is_never_readable(before: str, after: str, secret: str) -> None:
    """Wherever it stands, the key is replaced before the message is cut."""
    said = readable(before + SECRET + after, SECRET)
    assert SECRET not in said
    assert len(said) <= MESSAGE_CHARS_MAX
    assert readable("x" * 398 + secret, secret).endswith("...")


def test_what_cannot_be_encoded_is_replaced() -> None:
    """A lone surrogate, as undecodable bytes in headers leave it, would make the journal's line impossible."""
    assert readable("a\udcff b", "") == "a? b"
