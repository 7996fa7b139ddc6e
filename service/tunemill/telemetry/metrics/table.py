"""Every metric: its name, what it says, its labels, and, where it is read from a run's figures, from which.

One table, from which both the metrics and the page that describes them are made. All label values are from closed sets:
steps and models are the recipe's; whatever else a provider makes up is counted as `other`. Every series that may come
is there from the beginning, at 0, so that no rate misses how it began; what is unknown has no sample, as unknown is not
zero. Counters are the run's: a new process goes on from what the journal says.
"""

import platform
from collections.abc import Iterator

from tunemill import __version__
from tunemill.model import FailureKind, RunState, WaitReason, usd
from tunemill.statistics import RunStatistics
from tunemill.telemetry.metrics.kinds import (
    OTHER,
    Described,
    DescribedHistogram,
    Kind,
    Labelled,
    Since,
    by_step,
    dollars,
    one,
)

ANSWERED = ("stop", "length", "tool_calls", "function_call", "content_filter", "refusal", "empty", "missing", OTHER)
FAILED = tuple(kind.value for kind in FailureKind)
OUTCOMES = (*ANSWERED, *FAILED)
RESULTS = ("completed", *FAILED, OTHER)
TOKEN_KINDS = ("input", "cached_input", "output", "reasoning")


def _requests(statistics: RunStatistics) -> Iterator[Labelled]:
    counts = statistics.requests
    yield ("completed",), counts.completed
    yield ("failed",), counts.failed
    yield ("waiting",), counts.waiting
    yield ("in_flight",), counts.in_flight


def _cost(statistics: RunStatistics) -> Iterator[Labelled]:
    yield ("settled",), usd(statistics.money.settled)
    yield ("uncertain",), usd(statistics.money.uncertain)


_STEP = "the recipe's steps"
_MODEL = "the recipe's models, as `provider/model` where it is not the recipe's first provider"
_LIMIT = ("requests_per_minute", "tokens_per_minute", "concurrency")

METRICS: tuple[Described, ...] = (
    # -- the run
    Described(
        name="tunemill_build_info",
        kind=Kind.INFO,
        help="The program that is running; always 1.",
        since=Since.PROCESS,
        labels={"version": "tunemill's", "python": "Python's version"},
        read=lambda _: [((__version__, platform.python_version()), 1)],
    ),
    Described(
        name="tunemill_run_info",
        kind=Kind.INFO,
        help="Whether the run's dollars are only simulated; always 1.",
        since=Since.RUN,
        labels={"simulated": ("true", "false")},
        read=lambda s: [((str(s.simulated).lower(),), 1)],
    ),
    Described(
        name="tunemill_run_state",
        kind=Kind.GAUGE,
        help="1 for the state that the run is in, 0 for the others.",
        since=Since.NOW,
        labels={"state": tuple(state.value for state in RunState)},
        read=lambda s: [((state.value,), float(state is s.state)) for state in RunState],
    ),
    # -- progress
    Described(
        name="tunemill_requests",
        kind=Kind.GAUGE,
        help="Requests of the run by what became of them; their sum is how many are planned.",
        since=Since.RUN,
        labels={"state": ("completed", "failed", "waiting", "in_flight")},
        read=_requests,
    ),
    Described(
        name="tunemill_requests_finished_total",
        kind=Kind.COUNTER,
        help="Requests that came to an end: answered, by finish reason, or failed for good, by class of failure.",
        since=Since.RUN,
        labels={"step": _STEP, "outcome": OUTCOMES},
        read=by_step(lambda s: s.finished, OUTCOMES),
    ),
    Described(
        name="tunemill_attempts_total",
        kind=Kind.COUNTER,
        help="Attempts that came to an end: completed, or the class of the failure; rate_limited is a refusal (429).",
        since=Since.RUN,
        labels={"step": _STEP, "result": RESULTS},
        read=by_step(lambda s: s.attempts, RESULTS),
    ),
    Described(
        name="tunemill_tokens_total",
        kind=Kind.COUNTER,
        help="Tokens as billed. Input includes cached_input, and output includes reasoning.",
        since=Since.RUN,
        labels={"step": _STEP, "kind": TOKEN_KINDS},
        read=by_step(lambda s: s.tokens, TOKEN_KINDS),
    ),
    Described(
        name="tunemill_waiting",
        kind=Kind.GAUGE,
        help="Requests that wait, by what they wait for.",
        since=Since.NOW,
        labels={"reason": tuple(reason.value for reason in WaitReason)},
        read=lambda s: [((reason.value,), s.waiting_for.get(reason.value, 0)) for reason in WaitReason],
    ),
    Described(
        name="tunemill_eta_seconds",
        kind=Kind.GAUGE,
        help="Time until all requests are done, if they go on as they did in this process; absent until known.",
        since=Since.NOW,
        read=one(lambda s: s.eta_s),
    ),
    Described(
        name="tunemill_last_answer_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When the last answer was written down, or this process began if that was later; seconds since the epoch.",
        since=Since.RUN,
        read=one(lambda s: s.last_answer_at),
    ),
    # -- money
    Described(
        name="tunemill_cost_usd_total",
        kind=Kind.COUNTER,
        help="Dollars spent: settled is billed for certain, uncertain may have been and counts at its worst case.",
        since=Since.RUN,
        labels={"kind": ("settled", "uncertain")},
        read=_cost,
    ),
    Described(
        name="tunemill_reserved_usd",
        kind=Kind.GAUGE,
        help="Worst case of what is in flight, in dollars.",
        since=Since.NOW,
        read=dollars(lambda s: s.money.reserved),
    ),
    Described(
        name="tunemill_budget_usd",
        kind=Kind.GAUGE,
        help="The hard limit in dollars; absent where there is none.",
        since=Since.NOW,
        read=dollars(lambda s: s.money.budget),
    ),
    Described(
        name="tunemill_forecast_usd",
        kind=Kind.GAUGE,
        help="What the whole run will have cost, training included, in dollars; absent until known.",
        since=Since.NOW,
        read=dollars(lambda s: s.money.forecast),
    ),
    Described(
        name="tunemill_rows_beyond_budget",
        kind=Kind.GAUGE,
        help="About how many rows the budget will not do for, by the forecast; absent until known.",
        since=Since.NOW,
        read=one(lambda s: s.rows_beyond_budget),
    ),
    # -- limits
    Described(
        name="tunemill_limit",
        kind=Kind.GAUGE,
        help="Limits as they are kept now, given or learned, in the unit that the kind names.",
        since=Since.NOW,
        labels={"model": _MODEL, "kind": _LIMIT},
        read=lambda s: [((level.model, level.kind), level.limit) for level in s.limits],
    ),
    Described(
        name="tunemill_limit_used",
        kind=Kind.GAUGE,
        help="How much of each limit is used, in the unit that the kind names.",
        since=Since.NOW,
        labels={"model": _MODEL, "kind": _LIMIT},
        read=lambda s: [((level.model, level.kind), level.used) for level in s.limits],
    ),
    # -- health
    Described(
        name="tunemill_circuit_open",
        kind=Kind.GAUGE,
        help="1 while a model is only probed, after sustained failure or silence; 0 otherwise.",
        since=Since.NOW,
        labels={"model": _MODEL},
        read=lambda s: [((model,), float(is_open)) for model, is_open in s.circuits.items()],
    ),
    Described(
        name="tunemill_journal_pending_lines",
        kind=Kind.GAUGE,
        help="Journal lines that are not on disk yet.",
        since=Since.NOW,
        read=one(lambda s: s.journal.lines_pending),
    ),
    Described(
        name="tunemill_journal_write_age_seconds",
        kind=Kind.GAUGE,
        help="How long the write to the journal that is under way has been taking; 0 where none is.",
        since=Since.NOW,
        read=one(lambda s: s.journal.write_s),
    ),
    Described(
        name="tunemill_journal_write_failures_total",
        kind=Kind.COUNTER,
        help="Writes to the journal that failed. After the first nothing is sent any more, and the run ends.",
        since=Since.PROCESS,
        read=one(lambda s: s.journal.write_failures),
    ),
)

ATTEMPT_DURATION = DescribedHistogram(
    name="tunemill_attempt_duration_seconds",
    help="How long attempts took, from sending to answer or failure.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
ANSWER_TOKENS = DescribedHistogram(
    name="tunemill_answer_tokens",
    help="How long answers are, in output tokens as billed.",
    labels={"step": _STEP},
    buckets=tuple(2**power for power in range(3, 16)),
)
RETRY_DELAY = DescribedHistogram(
    name="tunemill_retry_delay_seconds",
    help="For how long failed attempts were put off before the next one; one observation is one retry.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900, 1800),
)
JOURNAL_COMMIT = DescribedHistogram(
    name="tunemill_journal_commit_seconds",
    help="How long it took to write a batch of journal lines and to have it on disk.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
HISTOGRAMS = (ATTEMPT_DURATION, ANSWER_TOKENS, RETRY_DELAY, JOURNAL_COMMIT)
