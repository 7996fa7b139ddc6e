"""The picture of a run, recorded at several widths."""

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType
from tests.telemetry.samples import ATTEMPT_FAILED, COMPLETED, EVENTS, FAILED, FINISHED, KEY, STATISTICS, UNKNOWN

from tunemill.events import BudgetShort, CircuitChanged, DatasetBuilt, Event, FineTuneChanged, StateChanged
from tunemill.model import JsonObject, Lane, RunState, picodollars
from tunemill.statistics import Money, RequestCounts, RunStatistics
from tunemill.telemetry import answer_panel, completion_panel
from tunemill.telemetry.display.pieces import Bar, Excerpt, Part, sparkline
from tunemill.telemetry.display.view import final_frame, live_frame
from tunemill.telemetry.recent import RecentEvents

WIDTHS = (40, 80, 200)
HOSTILE = f"\x1b[31mred\x1b]0;title\x07 [bold]not bold[/] \u202edne eht\u202c {KEY} " + "y" * 5_000


def _printed(renderable: RenderableType, width: int = 80, *, ascii_only: bool = False) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii" if ascii_only else "utf-8")
    console = Console(file=stream, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(renderable)
    stream.flush()
    return raw.getvalue().decode().replace("\x1b[0m", "")


def _after(*events: Event) -> RecentEvents:
    recent = RecentEvents()
    for event in events:
        recent.on_event(event)
    return recent


def _live(statistics: RunStatistics, *events: Event, width: int = 80) -> str:
    return _printed(live_frame(statistics, _after(*events), elapsed_s=42.0, losses=()), width)


def _final(statistics: RunStatistics, *events: Event, width: int = 80) -> str:
    return _printed(final_frame(statistics, _after(*events), elapsed_s=42.0, losses=()), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_live_picture_has_all_that_matters(width: int) -> None:
    """How far, how fast against which limit, what it costs, what it waits for, what came last: at every width."""
    words = " ".join(_live(STATISTICS, ATTEMPT_FAILED, FAILED, COMPLETED, width=width).split())
    for part in (
        "movie-plots",
        "RUNNING",
        "ETA 5 min 40 s",
        "201/512 39 %",
        "200 completed, 1 failed, 64 of 256 in flight, 247 waiting",
        "498 of 500 requests/min, 181,000 of 200,000 tokens/min",
        "requests per minute 12, provider asked us to wait 3, their turn 232",
        "$0.41 spent, $0.0020 uncertain, $0.050 reserved",
        "timeout outline: given up",
        "rate_limited 1",
        "outline: stop, 812 tokens, $0.0021, 3.2 s",
        COMPLETED.text,
    ):
        assert part in words


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """A line that wraps tears a live display."""
    picture = _live(STATISTICS, *EVENTS, replace(COMPLETED, text="日本語テキスト" * 100), width=width)
    assert max(cell_len(line) for line in picture.splitlines()) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_is_only_text(width: int) -> None:
    """Neither escape sequences nor markup nor keys nor reversed text get through, from answers and messages alike."""
    events = (
        replace(COMPLETED, text=HOSTILE, outcome=HOSTILE),
        replace(FAILED, message=HOSTILE),
        replace(ATTEMPT_FAILED, message=HOSTILE),
        StateChanged(state=RunState.RUNNING, reason=HOSTILE),
        FineTuneChanged(what="event", fine_tuning_job_id=HOSTILE, status=HOSTILE, message=HOSTILE),
    )
    picture = _live(STATISTICS, *events, width=width) + _final(FINISHED, *events, width=width)
    assert "[bold]not" in picture
    assert not [bad for bad in ("\x1b", "\u202e", "\x07", KEY) if bad in picture]
    assert len(picture.splitlines()) < 150


def test_the_picture_has_the_same_height_whatever_came_last() -> None:
    """It holds still while completions of all lengths come in."""
    texts = ("", "short", "one\n\n\ntwo", "long " * 500, "x" * 5_000)
    heights = {len(_live(STATISTICS, replace(COMPLETED, text=text)).splitlines()) for text in texts}
    assert len(heights) == 1


def test_it_fits_a_small_terminal() -> None:
    """With everything that can go wrong at once it is still within 24 lines."""
    troubles = (CircuitChanged(lane=COMPLETED.lane, is_open=True, failures=12), EVENTS[9])
    picture = _live(STATISTICS, *troubles, FAILED, FAILED, FAILED, FAILED, ATTEMPT_FAILED, COMPLETED)
    assert len(picture.splitlines()) <= 24


def test_simulated_dollars_are_marked() -> None:
    """At the run's name, at the dollars and at the last completion."""
    picture = _live(replace(STATISTICS, simulated=True), COMPLETED)
    assert picture.count("simulated") == 3
    assert "simulated" not in _live(STATISTICS, COMPLETED)


def test_an_open_circuit_is_loud_until_it_closes() -> None:
    """Which model, how often it failed, and what is done about it."""
    lane = Lane("judge", "llama")
    opened = CircuitChanged(lane=lane, is_open=True, failures=12)
    closed = CircuitChanged(lane=lane, is_open=False, failures=0)
    assert "TROUBLE  judge/llama failed 12 times in a row" in _live(STATISTICS, opened)
    assert "TROUBLE" not in _live(STATISTICS, opened, closed)
    assert "TROUBLE" in _live(replace(STATISTICS, circuits_open=1))


def test_a_storm_of_retries_does_not_hide_what_failed_for_good() -> None:
    """They are counted by kind; the last one gives its reason."""
    picture = _live(STATISTICS, FAILED, *[ATTEMPT_FAILED] * 500)
    assert "given up after 6 attempts" in picture
    assert "rate_limited 500" in picture
    assert "again in 12 s" in picture


@pytest.mark.parametrize(
    ("attempts", "words"), [(0, "never sent"), (1, "given up after 1 attempt."), (6, "given up after 6 attempts.")]
)
def test_a_failure_says_how_often_it_was_tried(attempts: int, words: str) -> None:
    """A request whose earlier step failed was never sent at all."""
    assert words in _live(STATISTICS, replace(FAILED, attempts=attempts))


def test_a_budget_that_is_too_small_says_how_far_it_goes() -> None:
    """In rows, as the person counts."""
    short = BudgetShort(budget=1, forecast=2, rows_that_fit=174, rows_planned=256)
    assert "the budget covers about 174 of 256 rows" in _live(STATISTICS, short)


def test_without_budget_or_forecast_there_are_no_figures_for_them() -> None:
    """Unknown is not zero."""
    picture = _live(UNKNOWN)
    assert "no budget" in picture
    assert "forecast" not in picture
    assert "ETA" not in picture


def test_the_later_phases_take_over() -> None:
    """After generation: the dataset, the job's status and events, the loss; no rate and no waiting."""
    events = (
        DatasetBuilt(train=180, validation=20, rejected=12, seconds=0.1),
        FineTuneChanged(what="event", fine_tuning_job_id="ftjob-1", status="running", message="Step 10 of 30"),
    )
    figures: JsonObject = {"status": "queued", "step": 10, "total_steps": 30, "train_loss": 1.5}
    statistics = replace(FINISHED, state=RunState.RUNNING, fine_tune=figures)
    picture = _printed(live_frame(statistics, _after(*events), elapsed_s=1.0, losses=(2.0, 1.75, 1.5)))
    for part in (
        "180 train, 20 validation, 12 rejected",
        "running  ftjob-1",
        "Step 10 of 30",
        "2.000 to 1.500",
        "step 10 of 30",
    ):
        assert part in picture
    assert "█▅▁" in picture
    assert "requests/min" not in picture
    assert "waits for" not in picture


def test_the_tuned_model_and_its_price_stay_on_the_screen() -> None:
    """It is what the run was for; an estimate says that it is one, and simulated dollars that they are."""
    assert "succeeded  ftjob-1  ft:gpt-4o-mini:movie-plots  $2.31" in _final(FINISHED)
    figures: JsonObject = {"state": "creating", "status": "", "usd": None, "usd_estimated": 3, "simulated": True}
    assert "creating  about $3.00 simulated" in _live(replace(FINISHED, fine_tune=figures))


def test_a_failed_fine_tuning_job_says_why() -> None:
    """In the target's words, cleaned."""
    figures: JsonObject = {"status": "failed", "job_id": "ftjob-1", "error": f"bad file {HOSTILE[:40]} {KEY}"}
    picture = _final(replace(FINISHED, fine_tune=figures))
    assert "failed  ftjob-1  bad file red" in picture
    assert KEY not in picture


def test_a_recipe_without_steps_has_no_requests_to_show() -> None:
    """Its rows are examples already."""
    nothing = RequestCounts(planned=0, completed=0, failed=0, waiting=0, in_flight=0)
    picture = _live(replace(FINISHED, requests=nothing))
    assert "requests" not in picture
    assert "0/0" not in picture
    assert "180 train" in picture


def test_the_last_picture_tells_how_it_ended() -> None:
    """State, reason, counts, dollars, dataset, tuned model; nothing of what was only of the moment."""
    ended = StateChanged(state=RunState.FINISHED_WITH_FAILURES, reason="1 request failed for good; see failed.jsonl")
    picture = _final(FINISHED, COMPLETED, ATTEMPT_FAILED, FAILED, ended)
    for part in (
        "FINISHED WITH FAILURES",
        "see failed.jsonl",
        "511 completed, 1 failed",
        "$0.41 spent",
        "100 %",
        "ft:gpt-4o-mini",
    ):
        assert part in picture
    assert COMPLETED.text not in picture
    assert "retries" not in picture


def test_an_interrupted_run_keeps_its_counts_on_the_screen() -> None:
    """What is left to do is part of how it ended."""
    picture = _final(replace(STATISTICS, state=RunState.INTERRUPTED))
    assert "INTERRUPTED" in picture
    assert "247 waiting" in picture


@settings(max_examples=50, deadline=None)
@given(
    counts=st.tuples(*[st.integers(0, 10**6)] * 4),
    money=st.tuples(*[st.integers(0, 10**15)] * 4),
    width=st.integers(20, 220),
    state=st.sampled_from(RunState),
)
def test_no_figures_break_the_picture(
    counts: tuple[int, int, int, int], money: tuple[int, int, int, int], width: int, state: RunState
) -> None:
    """A display that raised would end the run."""
    completed, failed, waiting, in_flight = counts
    statistics = replace(
        STATISTICS,
        state=state,
        requests=RequestCounts(
            planned=sum(counts), completed=completed, failed=failed, waiting=waiting, in_flight=in_flight
        ),
        money=Money(settled=money[0], uncertain=money[1], reserved=money[2], budget=money[3], forecast=money[0] * 3),
    )
    for picture in (_live(statistics, *EVENTS, width=width), _final(statistics, *EVENTS, width=width)):
        assert max(cell_len(line) for line in picture.splitlines()) <= width


@given(shares=st.lists(st.floats(0, 1), max_size=4), width=st.integers(1, 200))
def test_a_bar_is_exactly_as_wide_as_its_place(shares: list[float], width: int) -> None:
    """Also where rounding or wrong figures would add up to more."""
    bar = Bar([Part(share, "#", "█", "green") for share in shares])
    assert len(_printed(bar, width).rstrip("\n")) == width


def test_a_bar_shows_the_least_share_that_is_there() -> None:
    """One failed request among a million is visible; none is not."""
    bar = Bar([Part(0.5, "#", "█", ""), Part(1e-6, "x", "▓", ""), Part(0.0, "-", "▒", "")])
    assert _printed(bar, 10) == "█████▓░░░░\n"
    assert _printed(Bar([Part(1 - 1e-6, "#", "█", ""), Part(1e-6, "x", "▓", "")]), 10) == "█████████▓\n"


def test_a_bar_needs_no_unicode() -> None:
    """On a terminal that has only ASCII, the stretches differ in their marks."""
    bar = Bar([Part(0.5, "#", "█", ""), Part(0.2, "x", "▓", "")])
    assert _printed(bar, 10, ascii_only=True) == "#####xx...\n"


def test_an_excerpt_ends_with_dots_when_there_is_more() -> None:
    """And is as high as it was asked to be when there is less."""
    assert _printed(Excerpt("word " * 100, lines=3), 40).splitlines()[2].endswith("...")
    assert _printed(Excerpt("word", lines=3), 40).splitlines() == ["word", "", ""]


def test_a_sparkline_of_equal_values_is_flat() -> None:
    """And does not divide by nothing."""
    assert sparkline([1.0, 1.0]) == "▁▁"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_completion_is_shown_with_its_prompt(width: int) -> None:
    """For the pilot: prompt, text, outcome, tokens and dollars in one frame, hostile or not."""
    panel = completion_panel(replace(COMPLETED, text=HOSTILE), prompt="Write a plot.\n\n[red]In India.", simulated=True)
    shown = _printed(panel, width)
    assert "Write a plot." in shown
    assert "[red]In India." in shown
    assert "simulated" in " ".join(shown.split())
    assert not [bad for bad in ("\x1b", "\u202e", "\x07", KEY) if bad in shown]
    assert max(cell_len(line) for line in shown.splitlines()) <= width


def test_a_completion_without_text_says_so() -> None:
    """A refusal or an empty answer was paid for too."""
    assert "(no text)" in _printed(answer_panel(title="outline", prompt="p", text="", footer="refusal"))


def test_dollars_of_a_completion_are_shown_to_the_digit_that_matters() -> None:
    """A hundredth of a cent is not $0.00."""
    assert "$0.0001" in _printed(
        completion_panel(replace(COMPLETED, cost=picodollars(0.0001)), prompt="p", simulated=False)
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_that_ends_says_how_many_it_awaits_and_for_how_long(width: int) -> None:
    """Whoever pressed Ctrl-C sees that it goes on, to what end, and what once more would do."""
    draining = replace(STATISTICS, state=RunState.DRAINING, eta_s=None, grace_left_s=22.6)
    said = StateChanged(state=RunState.DRAINING, reason="SIGINT: nothing more is sent; once more to stop at once")
    words = " ".join(_live(draining, said, width=width).split())
    for part in ("DRAINING", "once more to stop at once", "64 answers are awaited, for 23 s more"):
        assert part in words
    assert "waits for" not in words
    one = replace(draining, requests=replace(draining.requests, in_flight=1))
    assert "1 answer is awaited" in _live(one, width=width)
    assert "awaited" not in _final(replace(draining, state=RunState.INTERRUPTED, grace_left_s=None), width=width)


def test_a_paused_run_says_what_it_waits_for() -> None:
    """And with which command it goes on."""
    paused = replace(STATISTICS, state=RunState.PAUSED, eta_s=None, waiting_for={"paused": 247})
    picture = _live(paused, StateChanged(state=RunState.PAUSED, reason="what is in flight arrives and is kept"))
    assert "PAUSED" in picture
    assert "`tunemill resume` 247" in picture
    assert "ETA" not in picture
