"""Who may see the page: a table of who asks, of which address."""

import pytest

from tunemill.errors import ArgumentError
from tunemill.telemetry import Access, Address, PageToken, parse_token
from tunemill.telemetry.http.access import Admitted, Asked, Refused

TOKEN = PageToken("correct-horse-battery")
HERE = Access(address=Address("127.0.0.1", 9400), is_loopback=True, token=None)
EVERYWHERE = Access(address=Address("0.0.0.0", 9400), is_loopback=False, token=None)


def _asked(host: str = "", bearer: str = "", cookie: str = "") -> Asked:
    return Asked(host=host, authorization=bearer, cookies={TOKEN.cookie_name: cookie} if cookie else {})


@pytest.mark.parametrize(
    "host",
    ["localhost:9400", "LOCALHOST", "127.0.0.1:9400", "127.0.0.1", "[::1]:9400", "127.1.2.3:1", "localhost:18080"],
)
def test_this_machine_by_its_names(host: str) -> None:
    """Whatever the port: a tunnel has another one."""
    assert HERE.decide(_asked(host)) == Admitted()


@pytest.mark.parametrize(
    "host",
    ["", "evil.example:9400", "localhost.evil.example", "127.0.0.1.evil.example:9400", "10.0.0.7", "[::2]", "[", "::1"],
)
def test_another_name_is_no_name_of_this_machine(host: str) -> None:
    """A name from elsewhere that leads here is how a page from elsewhere would read along."""
    admission = HERE.decide(_asked(host))
    assert isinstance(admission, Refused)
    assert admission.status == 421
    assert "127.0.0.1" in admission.sentence


def test_the_name_that_was_given_to_listen_is_one() -> None:
    """Many systems know themselves by a name that leads to 127.0.1.1."""
    access = Access(address=Address("workbench", 9400), is_loopback=True, token=None)
    assert access.decide(_asked("workbench:9400")) == Admitted()


def test_elsewhere_without_a_token_nobody_sees_it() -> None:
    """Whatever is sent; and the sentence says how to open it."""
    admission = EVERYWHERE.decide(_asked("localhost:9400", bearer="Bearer anything-at-all-here", cookie="x"))
    assert isinstance(admission, Refused)
    assert admission.status == 403
    assert "TUNEMILL_TOKEN" in admission.sentence
    assert "16 characters" in admission.sentence
    assert EVERYWHERE.is_closed


@pytest.mark.parametrize("is_loopback", [True, False])
@pytest.mark.parametrize(
    ("asked", "is_admitted"),
    [
        (_asked("evil.example", bearer="Bearer correct-horse-battery"), True),
        (_asked("run.internal", bearer="bearer  correct-horse-battery"), True),
        (_asked("run.internal", cookie=TOKEN.cookie_value), True),
        (_asked("localhost"), False),
        (_asked("localhost", bearer="Bearer wrong-horse-battery"), False),
        (_asked("localhost", bearer="Bearer "), False),
        (_asked("localhost", bearer="Bearer corréct-horse-\udc80"), False),
        (_asked("localhost", bearer="Basic correct-horse-battery"), False),
        (_asked("localhost", bearer="correct-horse-battery"), False),
        (_asked("localhost", cookie="correct-horse-battery"), False),
        (_asked("localhost", bearer="Bearer wrong", cookie=TOKEN.cookie_value), False),
    ],
)
def test_with_a_token_it_alone_counts(asked: Asked, is_admitted: bool, is_loopback: bool) -> None:
    """As a bearer or as its cookie, wherever the address is; who has it need not be asked for names."""
    access = Access(address=Address("::", 9400), is_loopback=is_loopback, token=TOKEN)
    admission = access.decide(asked)
    assert isinstance(admission, Admitted) is is_admitted
    assert is_admitted or (isinstance(admission, Refused) and admission.status == 401)


def test_a_token_shows_nowhere() -> None:
    """Not in its representation, and not in what a browser keeps."""
    assert "horse" not in repr(TOKEN) + repr(EVERYWHERE)
    assert "horse" not in TOKEN.cookie_name + TOKEN.cookie_value
    assert PageToken("another-horse-battery").cookie_name != TOKEN.cookie_name


def test_a_token_is_taken_without_the_white_space_around_it() -> None:
    """Files end with a newline."""
    assert parse_token("0123456789abcdef\n", origin="--token-file") == PageToken("0123456789abcdef")


@pytest.mark.parametrize("text", ["", "0123456789abcde", "x" * 1_001, "0123456789 abcdef", "0123456789abcdéf"])
def test_a_token_that_is_none_is_refused_and_not_shown(text: str) -> None:
    """Too short, too long, or not for a header."""
    with pytest.raises(ArgumentError) as raised:
        parse_token(text, origin="TUNEMILL_TOKEN")
    assert raised.value.key == "TUNEMILL_TOKEN"
    assert not text or text not in str(raised.value)


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (HERE, "http://127.0.0.1:9400/"),
        (Access(address=Address("::1", 80), is_loopback=True, token=None), "http://[::1]:80/"),
        (
            Access(address=Address("run.internal", 80), is_loopback=False, token=TOKEN),
            "http://run.internal:80/?token=...",
        ),
        (EVERYWHERE, "closed: set TUNEMILL_TOKEN"),
    ],
)
def test_where_the_page_is(access: Access, words: str) -> None:
    """In words, without the token."""
    assert access.page_words.startswith(words)
