"""What the simulator invents: faults, texts and answers, as pure functions of seed and body."""

import collections
import json
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunemill.local.admission import COMMON, Admission, Rule
from tunemill.local.answers import afflict
from tunemill.local.calls import Call, Endpoint, parse
from tunemill.local.chance import ChanceSource
from tunemill.local.faults import Fault, FaultRates
from tunemill.local.prices import PriceTable
from tunemill.local.prose import write
from tunemill.local.replies import Reply
from tunemill.local.simulator import compose


def chat_call(text: str = "hello", **fields: object) -> Call:
    """A parsed chat request."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **fields}
    parsed = parse(Endpoint.CHAT, json.dumps(body).encode())
    assert isinstance(parsed, Call)
    return parsed


def text_of(call: Call, seed: int = 7) -> str:
    """The simulated text."""
    chances = ChanceSource(seed)
    return compose(call, chances.of_body(chances.digest("chat", call.body)), 200, 0).choices[0].text


@pytest.mark.parametrize(
    ("setting", "named"),
    [("hang", "KIND=RATE"), ("bang=0.1", "'bang'"), ("hang=x", "'x'"), ("hang=2", "2"), ("all=0.2", "exceed 1")],
)
def test_a_wrong_fault_is_named(setting: str, named: str) -> None:
    """The message shows what was written."""
    with pytest.raises(ValueError, match=re.escape(named)):
        FaultRates.parse([setting])


def test_later_fault_settings_win() -> None:
    """All at five percent, except hanging."""
    rates = FaultRates.parse(["all=0.05", "hang=0"]).rates
    assert Fault.HANG not in rates
    assert len(rates) == len(Fault) - 1


def test_faults_fall_as_often_as_they_should() -> None:
    """Every kind at 5 %: each takes its twentieth of the unit interval, and the rest is spared."""
    rates = FaultRates.parse(["all=0.05"])
    drawn = collections.Counter(rates.draw(index / 10_000) for index in range(10_000))
    assert all(abs(drawn[kind] - 500) <= 2 for kind in Fault)
    assert abs(drawn[None] - (10_000 - 500 * len(Fault))) <= 2


@given(seed=st.integers(0, 2**32), characters=st.integers(4, 4000))
def test_prose_has_the_length_that_was_asked_for(seed: int, characters: int) -> None:
    """Never longer, never empty, and not much shorter than half."""
    text = write(Random(seed), characters)
    assert 1 <= len(text) <= characters
    assert len(text) >= characters // 2 or characters < 40


def test_the_same_body_gets_the_same_text_and_another_seed_another() -> None:
    """Text depends on seed and body alone."""
    assert text_of(chat_call("a")) == text_of(chat_call("a"))
    assert text_of(chat_call("a")) != text_of(chat_call("a"), seed=8)


def test_ten_thousand_bodies_get_ten_thousand_texts() -> None:
    """Different bodies, different texts, so that exact duplicates are never the simulator's."""
    assert len({text_of(chat_call(f"row {index}")) for index in range(10_000)}) == 10_000


def test_a_second_draw_for_the_same_body_differs() -> None:
    """A retry gets another draw, and the same retry of another run the same one."""
    chances = ChanceSource(7)
    digest = chances.digest("chat", b"{}")
    first, second = (chances.of_draw(digest, seen).number(b"fault") for seen in (0, 1))
    assert first != second
    assert first == ChanceSource(7).of_draw(digest, 0).number(b"fault")


def test_without_a_seed_nothing_repeats() -> None:
    """Random mode."""
    chances = ChanceSource(None)
    assert chances.of_body(b"x").number(b"a") != chances.of_body(b"x").number(b"a")


@given(text=st.text(max_size=200))
def test_prompt_tokens_stay_below_bytes_and_framing(text: str) -> None:
    """A budget that counts UTF-8 bytes and framing is an upper bound of what the simulator bills."""
    assert chat_call(text).prompt_tokens <= len(text.encode()) + 4 + 3


@given(limit=st.integers(1, 500))
def test_output_stays_below_max_tokens(limit: int) -> None:
    """For each choice."""
    call = chat_call(max_tokens=limit, n=3)
    chances = ChanceSource(7)
    answer = compose(call, chances.of_body(b"x"), 200, 0)
    assert len(answer.choices) == 3
    assert all(1 <= choice.tokens <= limit for choice in answer.choices)


def test_stop_sequences_end_the_text_before_them() -> None:
    """And are not part of it."""
    whole = text_of(chat_call())
    assert " " in whole
    assert " " not in text_of(chat_call(stop=" "))


def test_admission_counts_the_bound_and_a_quarter_of_the_characters() -> None:
    """max_completion_tokens counts like max_tokens; every choice counts."""
    assert COMMON.tokens(chat_call("x" * 400, max_tokens=100)) == 200
    assert COMMON.tokens(chat_call("x" * 400, max_completion_tokens=100, n=2)) == 300


def test_admission_can_follow_other_rules() -> None:
    """The larger of the two, the prompt alone, other characters for a token; usage gives back what was not used."""
    call = chat_call("x" * 400, max_tokens=300)
    assert Admission(rule=Rule.LARGER).tokens(call) == 300
    assert Admission(rule=Rule.PROMPT).tokens(call) == 100
    assert Admission(characters_per_token=2.0).tokens(call) == 500
    assert Admission(rule=Rule.USAGE).tokens(call) == 400
    assert Admission(rule=Rule.USAGE).given_back(400, 107, 50) == 243
    assert Admission(rule=Rule.USAGE).given_back(400, 300, 300) == 0
    assert COMMON.given_back(400, 107, 50) == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b'{"messages": []}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": [{"content": "x"}]}', "messages"),
        (b'{"model": "m", "messages": [{"role": "user", "content": 1}]}', "messages.[0].content"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}', "max_tokens"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 1000}', "n"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "stop": 3}', "stop"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": true}', "stream"),
    ],
)
def test_a_wrong_body_is_a_400_that_names_the_field(body: bytes, param: str | None) -> None:
    """As the hosted API does it."""
    reply = parse(Endpoint.CHAT, body)
    assert isinstance(reply, Reply)
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["param"] == param


def test_faults_of_the_answer_leave_what_they_say() -> None:
    """No choices, a refusal, half a text, nothing of a text."""
    chances = ChanceSource(7)
    answer = compose(chat_call(), chances.of_body(b"x"), 200, 0)
    assert afflict(answer, Fault.EMPTY_CHOICES).output_tokens == 0
    assert afflict(answer, Fault.REFUSAL).choices[0].refusal
    assert (
        1 <= afflict(compose(chat_call(max_tokens=2), chances.of_body(b"x"), 200, 0), Fault.REFUSAL).output_tokens <= 2
    )
    assert afflict(answer, Fault.LENGTH).choices[0].finish_reason == "length"
    assert answer.choices[0].text.startswith(afflict(answer, Fault.LENGTH).choices[0].text)
    assert afflict(answer, Fault.CONTENT_FILTER).choices[0].text == ""
    assert afflict(answer, Fault.CUT_AFTER) is answer


def test_prices_are_exact() -> None:
    """gpt-4o-mini: $0.15 and $0.60 a million tokens, in whole picodollars."""
    price = PriceTable().price("gpt-4o-mini")
    assert price is not None
    assert price.of(1_000_000, 1_000_000) == 750_000_000_000
    assert PriceTable().price("nobody-knows") is None
    given = PriceTable(input_usd_per_million=0.1, output_usd_per_million=0.4).price("nobody-knows")
    assert given is not None
    assert given.of(3, 1) == 700_000
