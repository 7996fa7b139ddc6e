"""Who may see what the run's HTTP address serves, decided from plain values.

Figures (/metrics, /healthz, /readyz) are anybody's who can connect. The page, its stream and /status show prompts,
answers and messages:

    a token is set           whoever has it: as a bearer, or in the cookie that /?token=... sets
    none, bound to loopback  this machine; the Host header has to name it, else a page from elsewhere, whose own name
                             was made to lead here (DNS rebinding), could read along
    none, bound elsewhere    nobody

Ports are not compared: tunnels have others, and whoever rebinds a name cannot choose the name that is sent.
"""

import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tunemill.errors import ArgumentError
from tunemill.telemetry.http.listen import Address

TOKEN_CHARS_MIN = 16
TOKEN_CHARS_MAX = 1_000
TOKEN_VARIABLE = "TUNEMILL_TOKEN"  # noqa: S105  # its name
_BEARER = "bearer "
_SET_ONE = (
    f"this page shows prompts and answers, and nobody may see it from elsewhere until there is a token: set "
    f"{TOKEN_VARIABLE} to at least {TOKEN_CHARS_MIN} characters, or --token-file to a file that holds them, and run "
    "again. /metrics, /healthz and /readyz need none.\n"
)
_GIVE_IT = (
    "this page needs the run's token: open /?token=TOKEN once in this browser, or send the header "
    "`Authorization: Bearer TOKEN`. /metrics, /healthz and /readyz need none.\n"
)
_NAME_IT = "this address serves this machine alone: open it as localhost or 127.0.0.1, or set a token.\n"


@dataclass(frozen=True, slots=True)
class PageToken:
    """What opens the page. It is in no representation of this value, and a browser keeps only what is derived of it."""

    text: str = field(repr=False)

    @property
    def cookie_name(self) -> str:
        """Another one for each token: browsers do not tell the ports of a host apart."""
        return f"tunemill-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    @property
    def cookie_value(self) -> str:
        """What only somebody who had the token can have."""
        return hmac.new(self.text.encode(), b"tunemill page", hashlib.sha256).hexdigest()

    def is_text(self, text: str) -> bool:
        """Whether it is this token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(self.text.encode(), text.encode("utf-8", "replace"))

    def is_cookie(self, value: str) -> bool:
        """Whether it is this token's cookie, likewise."""
        return hmac.compare_digest(self.cookie_value.encode(), value.encode("utf-8", "replace"))


def parse_token(text: str, *, origin: str) -> PageToken:
    """The token in `text`, whose surrounding white space does not count. `origin` is a flag or a variable.

    Raises ArgumentError, which does not show it.
    """
    token = text.strip()
    if not TOKEN_CHARS_MIN <= len(token) <= TOKEN_CHARS_MAX:
        problem = f"the token in it has {len(token):,} characters"
        mend = f"take {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX:,}, such as what `openssl rand -hex 16` prints"
        raise ArgumentError(problem, mend=mend, key=origin)
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ArgumentError(
            "the token in it holds blanks, or characters that no header can carry",
            mend="take letters and digits, such as what `openssl rand -hex 16` prints",
            key=origin,
        )
    return PageToken(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request says of who asks: headers ("" where there is none) and cookies."""

    host: str
    authorization: str
    cookies: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may be shown."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It may not, with the HTTP status and the sentence that says what to do."""

    status: int
    sentence: str


Admission: TypeAlias = Admitted | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rule for one address: where it is, whether only this machine can reach it, and its token if it has one."""

    address: Address
    is_loopback: bool
    token: PageToken | None

    @property
    def is_closed(self) -> bool:
        """Whether nobody at all may see the page."""
        return self.token is None and not self.is_loopback

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page, or for an address that is not one (0.0.0.0) anybody."""
        host = socket.gethostname() if _is_any(self.address.host) else self.address.host
        return f"http://{Address(host, self.address.port)}/"

    @property
    def page_words(self) -> str:
        """Where the page is, and what it takes to see it."""
        if self.is_closed:
            return f"closed: set {TOKEN_VARIABLE} or --token-file to open it to whoever has the token"
        return self.url if self.token is None else f"{self.url}?token=..."

    def decide(self, asked: Asked) -> Admission:
        """Whether whoever asks may see more than figures."""
        if self.token is not None:
            return Admitted() if _has(self.token, asked) else Refused(401, _GIVE_IT)
        if not self.is_loopback:
            return Refused(403, _SET_ONE)
        return Admitted() if self._names_this_machine(asked.host) else Refused(421, _NAME_IT)

    def _names_this_machine(self, host: str) -> bool:
        name = _without_port(host).lower()
        if name in {"localhost", self.address.host.lower()}:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _has(token: PageToken, asked: Asked) -> bool:
    if asked.authorization[: len(_BEARER)].lower() == _BEARER:
        return token.is_text(asked.authorization[len(_BEARER) :].strip())
    return token.is_cookie(asked.cookies.get(token.cookie_name, ""))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
