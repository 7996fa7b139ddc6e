"""Events and statistics to show, and a clock that the test moves."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics

from tunemill.clock import SystemClock
from tunemill.events import (
    AttemptFailed,
    BudgetChanged,
    BudgetShort,
    CircuitChanged,
    Completed,
    DatasetBuilt,
    Event,
    Failed,
    FineTuneChanged,
    JournalCommitted,
    LimitChanged,
    RecipeReloaded,
    RunStarted,
    Sent,
    StateChanged,
)
from tunemill.model import FailureKind, Lane, RunState, Usage, picodollars
from tunemill.statistics import JournalLevel, LimitLevel, Money, RequestCounts, RunStatistics
from tunemill.telemetry import RunPage

LANE = Lane("", "gpt-4o-mini")
SECRET_TEXT = "The butler did it."
KEY = "sk-proj-abcDEF0123456789"

COMPLETED = Completed(
    request_id="a" * 32,
    row_id="b" * 32,
    step="outline",
    sample=0,
    attempt=1,
    lane=LANE,
    outcome="stop",
    usage=Usage(input=120, output=812),
    cost=picodollars(0.0021),
    duration_s=3.21,
    text=SECRET_TEXT,
)
ATTEMPT_FAILED = AttemptFailed(
    request_id="a" * 32,
    row_id="b" * 32,
    step="outline",
    attempt=2,
    lane=LANE,
    kind=FailureKind.RATE_LIMITED,
    status=429,
    delay_s=12.0,
    duration_s=0.1,
    message="slow down",
)
FAILED = Failed(
    request_id="a" * 32,
    row_id="b" * 32,
    step="outline",
    sample=0,
    attempts=6,
    lane=LANE,
    kind=FailureKind.TIMEOUT,
    message="no answer within 120 s",
    duration_s=120.0,
)
EVENTS: tuple[Event, ...] = (
    RunStarted(run="movie-plots", rows=256, requests_planned=512, requests_completed=0, simulated=False),
    Sent(request_id="a" * 32, row_id="b" * 32, step="outline", sample=0, attempt=1, lane=LANE),
    ATTEMPT_FAILED,
    COMPLETED,
    FAILED,
    LimitChanged(lane=Lane("judge", "llama"), kind="requests", limit=500.0, cause="learned from the provider"),
    CircuitChanged(lane=LANE, is_open=True, failures=12),
    CircuitChanged(lane=LANE, is_open=False, failures=0),
    JournalCommitted(lines=12, bytes_written=40_000, seconds=0.004),
    BudgetShort(budget=picodollars(1.5), forecast=picodollars(2.2), rows_that_fit=174, rows_planned=256),
    StateChanged(state=RunState.RUNNING, reason="resumed"),
    DatasetBuilt(train=180, validation=20, rejected=12, seconds=0.2),
    FineTuneChanged(what="created", fine_tuning_job_id="ftjob-1", status="queued", message="job created"),
    BudgetChanged(before=None, after=picodollars(5.0)),
    RecipeReloaded(is_accepted=True, message="the prompt of step outline changed"),
    RecipeReloaded(is_accepted=False, message="not TOML"),
)

STATISTICS = RunStatistics(
    run="movie-plots",
    state=RunState.RUNNING,
    simulated=False,
    requests=RequestCounts(planned=512, completed=200, failed=1, waiting=247, in_flight=64),
    money=Money(
        settled=picodollars(0.41),
        uncertain=picodollars(0.002),
        reserved=picodollars(0.05),
        budget=picodollars(25.0),
        forecast=picodollars(1.06),
    ),
    waiting_for={"requests_per_minute": 12, "retry_after": 3, "queue": 232},
    eta_s=340.0,
    requests_per_minute=498.2,
    tokens_per_minute=181_000.0,
    finished={("outline", "stop"): 190, ("outline", "length"): 10, ("outline", "timeout"): 1},
    attempts={("outline", "completed"): 200, ("outline", "timeout"): 6, ("outline", "rate_limited"): 9},
    tokens={("outline", "input"): 41_200, ("outline", "output"): 180_500},
    limits=(
        LimitLevel(model="gpt-4o-mini", kind="requests_per_minute", limit=500.0, used=498.2),
        LimitLevel(model="gpt-4o-mini", kind="tokens_per_minute", limit=200_000.0, used=181_000.0),
        LimitLevel(model="gpt-4o-mini", kind="concurrency", limit=256.0, used=64.0),
    ),
    circuits={"gpt-4o-mini": False, "judge/llama": True},
    steps=("outline",),
    rows_beyond_budget=12,
    last_answer_at=1_790_000_000.5,
    journal=JournalLevel(lines_pending=3, write_s=0.25),
)
FINISHED = replace(
    STATISTICS,
    state=RunState.FINISHED_WITH_FAILURES,
    requests=RequestCounts(planned=512, completed=511, failed=1, waiting=0, in_flight=0),
    waiting_for={},
    eta_s=0.0,
    dataset={"train": 180, "validation": 20, "rejected": 12},
    fine_tune={
        "status": "succeeded",
        "job_id": "ftjob-1",
        "model": "ft:gpt-4o-mini:movie-plots",
        "usd": 2.31,
        "train_loss": 0.5,
    },
)
UNKNOWN = replace(
    STATISTICS,
    money=Money(settled=0, uncertain=0, reserved=0, budget=None, forecast=None),
    eta_s=None,
    limits=(),
    waiting_for={},
    rows_beyond_budget=None,
)


def page_of(statistics: RunStatistics) -> RunPage:
    """A page of a run that stands still, on the machine's own clock."""
    return RunPage(lambda: statistics, prompt_of=lambda _: "Who did it?", clock=SystemClock())


def openmetrics_families(text: str) -> list[Metric]:
    """What the strict parser of the OpenMetrics format makes of it; it raises on any fault."""
    parse: Callable[[str], Iterable[Metric]] = openmetrics.text_string_to_metric_families
    return list(parse(text))


class ManualClock:
    """Time that passes only when somebody sleeps or says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
