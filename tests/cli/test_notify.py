"""`[notify]`: what a run tells a webhook, what the plan says of it, and how it is tried out beforehand."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from tests.cli.cli_support import KEY, RECIPE, Shell, started
from tests.support.receiver import Receiver, nobody_listens
from tests.support.simulator import Simulator

DEADLINE_S = 100.0
FILMS = RECIPE[: RECIPE.index("[fine_tune]")]
NOTIFY = '[notify]\nwebhook_env = "CHAT_WEBHOOK"\non = ["started", "finished", "budget_reached", "failed", "stalled"]\n'


@pytest.fixture
def there() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def films(shell: Shell) -> Shell:
    shell.write("films.toml", FILMS + NOTIFY)
    return shell


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def _occasions(there: Receiver) -> list[str]:
    return [text.split(": ", 1)[1].partition(".")[0] for text in there.texts]


def test_a_run_tells_how_it_began_and_ended_and_the_same_run_says_nothing_more(films: Shell, there: Receiver) -> None:
    """Figures and our own words: no key, no prompt, no answer, and the address is nowhere."""
    first = films.run("run", "films.toml", CHAT_WEBHOOK=there.url, TUNEMILL_LOG_LEVEL="debug")
    assert first.code == 0
    assert _occasions(there) == ["started", "finished"]
    assert "12 of 12 answered (100 %)" in there.texts[1]
    again = films.run("run", "films.toml", CHAT_WEBHOOK=there.url)
    assert again.code == 0
    assert len(there.texts) == 2
    assert '"event":"notification_withheld"' in again.err
    answers = [line["text"] for line in films.run("show", "films", "--json").lines()]
    told = " ".join(there.texts)
    assert not [text for text in (KEY, "Plot a", *answers) if text in told]
    written = first.err + "".join(
        path.read_text(errors="replace") for path in (films.cwd / "runs").rglob("*") if path.is_file()
    )
    assert "S3CRET" not in written


def test_a_budget_that_is_reached_and_a_provider_that_refuses_are_told(
    films: Shell, there: Receiver, simulator: Simulator
) -> None:
    """One says to raise it, the other names the class of the refusal, and not the provider's words."""
    films.write("films.toml", FILMS.replace("usd = 1.0", "usd = 0.00013") + NOTIFY)
    assert films.run("run", "films.toml", CHAT_WEBHOOK=there.url).code == 3
    films.write("other.toml", (FILMS + NOTIFY).replace('"films"', '"other"'))
    simulator.control(quota_usd=0)
    try:
        assert films.run("run", "other.toml", CHAT_WEBHOOK=there.url).code == 5
    finally:
        simulator.control(quota_usd=None)
    assert _occasions(there) == ["started", "budget reached", "started", "refused by the provider (quota_exhausted)"]
    assert "To go on: raise the budget" in there.texts[1]


def test_a_run_that_cannot_reach_anybody_ends_as_ever(films: Shell) -> None:
    """And says in its log what was not told."""
    ending = films.run("run", "films.toml", CHAT_WEBHOOK=nobody_listens())
    assert ending.code == 0
    assert '"event":"notification_failed"' in ending.err
    assert "S3CRET" not in ending.err


def test_a_provider_that_is_silent_is_told_as_a_stall(shell: Shell, there: Receiver, simulator: Simulator) -> None:
    """And that it goes on. Nobody is told of an interruption who did not ask for it."""
    simulator.control(latency_s=4)
    shell.write("films.toml", FILMS + NOTIFY + "stalled_after_s = 1.0\n")
    env = shell.env(CHAT_WEBHOOK=there.url)
    with started("run", "films.toml", cwd=shell.cwd, env=env) as process:
        _until(lambda: len(there.texts) == 4)
        assert process.wait(100) == 0
    assert [text.partition(" after")[0] for text in _occasions(there)] == [
        "started",
        "stalled",
        "going again",
        "finished",
    ]
    assert "0 of 12 answered" in there.texts[1]


def test_the_test_message_arrives_or_it_is_said_why_not(films: Shell, there: Receiver) -> None:
    """Before going home; the address itself is not shown."""
    ending = films.run("notify", "films.toml", CHAT_WEBHOOK=there.url)
    assert ending.code == 0
    assert ending.out.startswith("sent to 127.0.0.1: films: this is a test from tunemill.")
    assert there.texts[0] in ending.out
    with Receiver(404) as gone:
        refused = films.run("notify", "films.toml", CHAT_WEBHOOK=gone.url)
    assert refused.code == 2
    assert refused.err == (
        "tunemill: CHAT_WEBHOOK: the test message did not arrive at 127.0.0.1: it answers with status 404; see that "
        "the address in the variable is the webhook's, and that it can be reached from here\n"
    )


def test_the_plan_says_who_will_be_told(films: Shell, there: Receiver) -> None:
    """Or that nobody will."""
    said = films.run("plan", "films.toml", CHAT_WEBHOOK=there.url).out
    assert "notifies   127.0.0.1 (the address in CHAT_WEBHOOK) of started, finished, budget reached, failed" in said
    assert "notifies   NOBODY: CHAT_WEBHOOK: the environment variable is not set" in films.run("plan", "films.toml").out


@pytest.mark.parametrize(
    ("notify", "variable", "message"),
    [
        (NOTIFY, "", "CHAT_WEBHOOK: the environment variable is not set; export it with the webhook's address"),
        (NOTIFY, "S3CRET", "CHAT_WEBHOOK: what is in it is no address (it is not shown here, as it is a secret)"),
        (NOTIFY, "ftp://S3CRET/x", "CHAT_WEBHOOK: what is in it is no address"),
        ('[notify]\non = ["finished"]\n', "", "notify.webhook_env: is missing; name the variable"),
        ('[notify]\nwebhook_env = "A"\non = ["done"]\n', "", "notify.on[0] = 'done': must be"),
        ('[notify]\nwebhook_env = "A"\non = []\n', "", "notify.on"),
        ('[notify]\nwebhook = "https://hooks.example.com/S3CRET"\n', "", "notify.webhook: a key may not be written"),
        ('[notify]\nwebhook_env = "https://a.example/S3CRET"\n', "", "notify.webhook_env: is not the name of"),
        ('[notify]\nwebhook_env = "A"\nurl = "https://hooks.slack.com/services/S3CRET"\n', "", "notify.url: a key"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_sent(
    notify: str, variable: str, message: str, shell: Shell, simulator: Simulator
) -> None:
    """One message, which never shows the address."""
    shell.write("films.toml", FILMS + notify)
    ending = shell.run("run", "films.toml", CHAT_WEBHOOK=variable)
    assert ending.code == 2
    assert message in ending.err
    assert "S3CRET" not in ending.err
    assert simulator.books()["received"] == 0


def test_a_rehearsal_needs_no_webhook(films: Shell) -> None:
    """As little as it needs a key; it says that nobody was told."""
    ending = films.run("run", "films.toml", "--local", "--backend", "simulator", OPENAI_API_KEY="")
    assert ending.code == 0
    assert "note: nobody was notified of anything: CHAT_WEBHOOK is not set" in ending.err


@pytest.mark.torture
def test_ctrl_c_is_told_where_it_was_asked_for(shell: Shell, there: Receiver, simulator: Simulator) -> None:
    """Within the grace that a container has beside the drain."""
    simulator.control(latency_s=30)
    shell.write("films.toml", FILMS + '[notify]\nwebhook_env = "CHAT_WEBHOOK"\non = ["interrupted"]\n')
    env = shell.env(CHAT_WEBHOOK=there.url)
    with started("run", "films.toml", "--grace", "0", cwd=shell.cwd, env=env) as process:
        _until(lambda: bool(simulator.books()["in_flight"]))
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(100) == 143
    assert _occasions(there) == ["interrupted"]
