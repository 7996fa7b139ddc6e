"""What goes back over the wire as values: a status, headers and a body. Errors read as the hosted API's do."""

from dataclasses import dataclass
from typing import TypeAlias

import orjson

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON: Headers = ((b"content-type", b"application/json"),)
HTML: Headers = ((b"content-type", b"text/html"),)

GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP reply. `kind` names, for the books, why it is not the answer that was asked for; "" where it is."""

    status: int
    body: bytes
    headers: Headers = JSON
    kind: str = ""

    def plus(self, headers: Headers) -> "Reply":
        """The same reply with more headers."""
        return Reply(status=self.status, body=self.body, headers=self.headers + headers, kind=self.kind)


def json_reply(value: object, *, status: int = 200, headers: Headers = ()) -> Reply:
    """A reply with `value` as its JSON body."""
    return Reply(status=status, body=orjson.dumps(value), headers=JSON + headers)


def error(
    status: int,
    message: str,
    *,
    kind: str,
    error_type: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    headers: Headers = (),
) -> Reply:
    """The API's own error shape."""
    body = {"error": {"message": message, "type": error_type, "param": param, "code": code}}
    return Reply(status=status, body=orjson.dumps(body), headers=JSON + headers, kind=kind)


def bad_request(message: str, *, param: str | None = None, code: str | None = None) -> Reply:
    """400: this request will never work."""
    return error(400, message, kind="bad_request", code=code, param=param)


def bad_key() -> Reply:
    """401; the key is not echoed, not even in part."""
    message = "Incorrect API key provided. You can find your API key in your account settings."
    return error(401, message, kind="bad_key", code="invalid_api_key")


def model_not_found(model: str) -> Reply:
    """404 for a model that is not there."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return error(404, message, kind="unknown_model", code="model_not_found")


def not_found(message: str, *, param: str | None = None) -> Reply:
    """404 for a file, a fine-tuning job or an address that is not there."""
    return error(404, message, kind="not_found", param=param)


def quota_exhausted() -> Reply:
    """429 that no waiting mends."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return error(429, message, kind="quota", error_type="insufficient_quota", code="insufficient_quota")


def refusing() -> Reply:
    """503 while the server is told to refuse everything."""
    message = "The server is overloaded or not ready yet."
    return error(503, message, kind="refusing", error_type="server_error", code="service_unavailable")


def rate_limited(message: str, *, limit_type: str, kind: str, retry_after_s: float | None) -> Reply:
    """429 that waiting mends; with Retry-After (whole seconds) and retry-after-ms where `retry_after_s` is given."""
    headers: Headers = ()
    if retry_after_s is not None:
        milliseconds = max(1, -int(-retry_after_s * 1000 // 1))
        headers = ((b"retry-after", b"%d" % -(-milliseconds // 1000)), (b"retry-after-ms", b"%d" % milliseconds))
    return error(429, message, kind=kind, error_type=limit_type, code="rate_limit_exceeded", headers=headers)


def server_error(status: int) -> Reply:
    """A 5xx as the API itself reports it: nothing was billed."""
    message = "The server had an error while processing your request. Sorry about that! (injected by the simulator)"
    return error(status, message, kind="server_error", error_type="server_error")


def abandoned() -> Reply:
    """For the books alone: the client left, so nobody will read it."""
    return error(499, "The client closed the connection.", kind="abandoned")


def gateway_page() -> Reply:
    """502 from a gateway in between: nobody can say whether the answer was produced."""
    return Reply(status=502, body=GATEWAY_PAGE, headers=HTML, kind="html_error")
