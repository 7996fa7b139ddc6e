"""The dashboard's rows on how far the run is, what holds it up, and how much of the provider's limits it uses."""

from deploy.grafana.panels import DASHED, STACKED, Panel, Query, Row, value_mappings
from deploy.grafana.queries import ANSWERED, most, rate, select

STATES = {  # in the order of how much one wants to know of it: where two processes disagree, the last one is shown
    "idle": ("idle", "text"),
    "finished": ("finished", "green"),
    "interrupted": ("interrupted", "orange"),
    "finished_with_failures": ("finished with failures", "orange"),
    "budget_reached": ("budget reached", "orange"),
    "refused": ("refused", "red"),
    "failed": ("failed", "red"),
    "draining": ("draining", "yellow"),
    "paused": ("paused", "yellow"),
    "running": ("running", "blue"),
}
_IN_STATE = [f"{at} * ({select('tunemill_run_state', state=state)} == 1)" for at, state in enumerate(STATES)]
STATE = f"max by (run) ({' or '.join(_IN_STATE)})"
STATE_WORDS = value_mappings({str(number): words for number, words in enumerate(STATES.values())})

PROGRESS = Row(
    title="Progress",
    panels=[
        Panel(
            title="Requests",
            about="What became of everything that is planned? The height is the plan.",
            unit="short",
            queries=[
                Query(
                    expr=most("tunemill_requests", state=state), legend=f"{{{{run}}}} {words}", style={"color": color}
                )
                for state, words, color in (
                    ("completed", "answered", "green"),
                    ("failed", "failed", "red"),
                    ("in_flight", "in flight", "blue"),
                    ("waiting", "waiting", "text"),
                )
            ],
            custom=STACKED,
        ),
        Panel(
            title="What it waits for",
            about="Why does it not go faster? queue is simply their turn; requests_per_minute and tokens_per_minute "
            "are the provider's limits, outage is an open circuit, budget is money held by what is in flight.",
            unit="short",
            queries=[Query(expr=f"{most('tunemill_waiting', 'run, reason')} > 0", legend="{{run}} {{reason}}")],
            custom=STACKED,
        ),
        Panel(
            title="Answers per minute",
            about="How fast does it get on, step by step, over five minutes?",
            unit="short",
            queries=[
                Query(
                    expr=f"60 * {rate('tunemill_requests_finished_total', '5m', 'run, step', outcome='~' + ANSWERED)}",
                    legend="{{run}} {{step}}",
                )
            ],
        ),
        Panel(
            title="State over time",
            about="When did it run, when was it paused or away, and how did it end?",
            unit="none",
            queries=[Query(expr=STATE)],
            kind="state-timeline",
            width=24,
            height=4,
            mappings=STATE_WORDS,
            steps=((None, "text"),),
        ),
    ],
)


def _limit(title: str, kind: str, about: str) -> Panel:
    return Panel(
        title=title,
        about=about,
        unit="short",
        queries=[
            Query(expr=most("tunemill_limit_used", "run, model", kind=kind), legend="{{run}} {{model}} used"),
            Query(expr=most("tunemill_limit", "run, model", kind=kind), legend="{{run}} {{model}} limit", style=DASHED),
        ],
        width=6,
    )


LIMITS = Row(
    title="Limits",
    panels=[
        _limit(
            "Requests per minute",
            "requests_per_minute",
            "Is the provider's limit of requests used? One that the recipe does not name is learned; until then there "
            "is none.",
        ),
        _limit(
            "Tokens per minute",
            "tokens_per_minute",
            "Is the provider's limit of tokens used? Counted as the provider counts, as far as that is known.",
        ),
        _limit(
            "Concurrency",
            "concurrency",
            "How many are under way at once, of how many? It is cut when the provider refuses, and grows again only "
            "while it is what binds.",
        ),
        Panel(
            title="Refusals (429) per minute",
            about="Does the provider refuse? A few, while a limit is being felt out, are normal; many in a row mean "
            "that somebody else uses the same key.",
            unit="short",
            queries=[
                Query(
                    expr=f"60 * {rate('tunemill_attempts_total', '5m', 'run, step', result='rate_limited')}",
                    legend="{{run}} {{step}}",
                )
            ],
            width=6,
        ),
    ],
)
