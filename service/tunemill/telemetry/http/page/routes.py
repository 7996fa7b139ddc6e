"""The page over HTTP: its files, its stream, and the one visit with the token in the address.

Promises: every answer that shows more than figures was admitted by `Access`; nothing in the page can run, load or be
framed but its own files (its policy says so, and knows no inline script or style); nothing of it is kept in a cache.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from importlib import resources
from typing import TypeAlias, assert_never

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tunemill.telemetry.http.access import Access, Admitted, Asked, PageToken, Refused
from tunemill.telemetry.http.page.run_page import RunPage

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

# Trusted types: nothing can be made markup of, not even by our own script.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
GUARDED: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
_FILES: Mapping[str, str] = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(("page.js", "paint.js", "charts.js", "answers.js"), "text/javascript; charset=utf-8"),
}
_COOKIE_AGE_S = 30 * 86_400
_ELSEWHERE = {"cross-site", "same-site"}  # where a browser says that another site's page asks
# Led on by the page itself and not by a redirect: a browser that came from another site would follow that without the
# cookie, which is kept from requests that other sites cause. It also takes the address with the token off the history.
# Without a link to the icon a browser that is quick asks for favicon.ico, which there is none of.
_LED_ON = (
    b'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=./">'
    b'<link rel="icon" href="icon.svg" type="image/svg+xml"><title>tunemill</title>'
    b'<p><a href="./">The run</a></p></html>\n'
)


def page_routes(page: RunPage, access: Access) -> list[Route]:
    """The page at `/`, its files and its stream."""

    async def index(_: Request) -> Response:
        return _file("page.html")

    async def file(request: Request) -> Response:
        return _file(request.url.path.rpartition("/")[2])

    async def events(request: Request) -> Response:
        if request.headers.get("sec-fetch-site") in _ELSEWHERE:
            return refusal(Refused(403, "another site's page may not listen.\n"))
        if page.feed.is_full:
            return refusal(Refused(503, "too many look at this page at once; try again later.\n"))
        media_type = "text/event-stream"
        if request.method == "HEAD":
            return Response(headers=GUARDED, media_type=media_type)
        return StreamingResponse(
            page.feed.read(), headers={**GUARDED, "x-accel-buffering": "no"}, media_type=media_type
        )

    files = [Route(f"/{name}", guarded(access, file)) for name in _FILES if name != "page.html"]
    return [Route("/", _entered(access, guarded(access, index))), Route("/events", guarded(access, events)), *files]


def guarded(access: Access, endpoint: Endpoint) -> Endpoint:
    """The endpoint, for those who may see more than figures."""

    async def admitted(request: Request) -> Response:
        admission = access.decide(asked_by(request))
        match admission:
            case Admitted():
                return await endpoint(request)
            case Refused():
                return refusal(admission)
            case _:
                assert_never(admission)

    return admitted


def asked_by(request: Request) -> Asked:
    """What the request says of who asks."""
    headers = request.headers
    return Asked(host=headers.get("host", ""), authorization=headers.get("authorization", ""), cookies=request.cookies)


def refusal(refused: Refused) -> Response:
    """The sentence, with its status."""
    asks = {"www-authenticate": "Bearer"} if refused.status == 401 else {}
    return PlainTextResponse(f"tunemill: {refused.sentence}", refused.status, headers={**GUARDED, **asks})


def _entered(access: Access, otherwise: Endpoint) -> Endpoint:
    """The visit that brings the right token in the address; all others are for `otherwise`."""

    async def entered(request: Request) -> Response:
        token = access.token
        if token is not None and token.is_text(request.query_params.get("token", "")):
            return _with_cookie(token, request)
        return await otherwise(request)

    return entered


def _with_cookie(token: PageToken, request: Request) -> Response:
    response = Response(_LED_ON, headers=GUARDED, media_type="text/html")
    response.set_cookie(
        token.cookie_name,
        token.cookie_value,
        max_age=_COOKIE_AGE_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _file(name: str) -> Response:
    return Response(_content(name), headers=GUARDED, media_type=_FILES[name])


@cache
def _content(name: str) -> bytes:
    return resources.files(__package__).joinpath(name).read_bytes()
