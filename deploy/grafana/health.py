"""The dashboard's rows on what the answers are like, and on how the run itself is."""

from deploy.grafana.panels import SHARES, STACKED, Panel, Query, Row, value_mappings
from deploy.grafana.queries import ANSWERED, NO_TEXT, most, quantiles, rate

_FINISHED = "tunemill_requests_finished_total"
_WINDOW = "$__rate_interval"

QUALITY = Row(
    title="Quality",
    panels=[
        Panel(
            title="How answers end",
            about="Which share of the answers of the last 15 minutes ended how? length means that max_tokens "
            "cut them off.",
            unit="short",
            queries=[
                Query(
                    expr=f"{rate(_FINISHED, '15m', 'run, outcome', outcome='~' + ANSWERED)} > 0",
                    legend="{{run}} {{outcome}}",
                )
            ],
            width=6,
            custom=SHARES,
        ),
        Panel(
            title="Answers without text",
            about="Which share of the answers was refused, filtered or empty, over the last 15 minutes? They were "
            "paid for.",
            unit="percentunit",
            queries=[
                Query(
                    expr=f"{rate(_FINISHED, '15m', 'run, outcome', outcome='~' + NO_TEXT)}"
                    f" / on (run) group_left () ({rate(_FINISHED, '15m', outcome='~' + ANSWERED)} > 0)",
                    legend="{{run}} {{outcome}}",
                )
            ],
            width=6,
            custom=STACKED,
        ),
        Panel(
            title="Lengths of answers",
            about="How long are answers, in tokens, over the last 15 minutes? Half of them are below p50.",
            unit="short",
            queries=quantiles("tunemill_answer_tokens", "15m", 0.05, 0.5, 0.95),
            width=6,
        ),
        Panel(
            title="Failed for good, by class",
            about="Why were requests given up, in the whole run? bad_request is the recipe's fault, most others are "
            "the provider's.",
            unit="short",
            queries=[
                Query(
                    expr="sum by (run, outcome) "
                    f"({most(_FINISHED, 'run, step, outcome', outcome='!~' + ANSWERED)}) > 0",
                    legend="{{run}} {{outcome}}",
                )
            ],
            kind="bargauge",
            width=6,
            steps=((None, "orange"),),
            defaults={"min": 0},
        ),
    ],
)

HEALTH = Row(
    title="Health",
    panels=[
        Panel(
            title="How long attempts take",
            about="How long from sending to the answer, or to the failure? p99 near limits.timeout_s means that "
            "answers are lost.",
            unit="s",
            queries=quantiles("tunemill_attempt_duration_seconds", _WINDOW, 0.5, 0.95, 0.99),
            width=6,
        ),
        Panel(
            title="Failed attempts per minute",
            about="What goes wrong on the way, although most of it is tried again?",
            unit="short",
            queries=[
                Query(
                    expr=f"60 * ({rate('tunemill_attempts_total', _WINDOW, 'run, result', result='!completed')} > 0)",
                    legend="{{run}} {{result}}",
                )
            ],
            width=6,
            custom=STACKED,
        ),
        Panel(
            title="Retries",
            about="How often is something tried again, a minute, and after which delay?",
            unit="short",
            queries=[
                Query(
                    expr=f"60 * {rate('tunemill_retry_delay_seconds_count', _WINDOW)}",
                    legend="{{run}} retries a minute",
                ),
                Query(
                    expr=quantiles("tunemill_retry_delay_seconds", "5m", 0.95)[0].expr,
                    legend="{{run}} delay p95",
                    style={"axisPlacement": "right"},
                ),
            ],
            width=6,
        ),
        Panel(
            title="Circuits",
            about="Which model is out, so that it is only probed?",
            unit="none",
            queries=[Query(expr=most("tunemill_circuit_open", "run, model"), legend="{{run}} {{model}}")],
            kind="state-timeline",
            width=6,
            mappings=value_mappings({"0": ("answers", "green"), "1": ("open: only probed", "red")}),
            steps=((None, "green"), (1, "red")),
        ),
        Panel(
            title="Writing the journal",
            about="How long does it take until lines are on disk? Every request waits for that twice.",
            unit="s",
            queries=[
                *quantiles("tunemill_journal_commit_seconds", _WINDOW, 0.5, 0.99),
                Query(expr=most("tunemill_journal_write_age_seconds"), legend="{{run}} under way"),
            ],
            width=6,
            custom={"thresholdsStyle": {"mode": "dashed"}},
            steps=((None, "green"), (1, "red")),
        ),
        Panel(
            title="Lines not on disk yet",
            about="Does the disk keep up? A failed write ends the run.",
            unit="short",
            queries=[
                Query(expr=most("tunemill_journal_pending_lines"), legend="{{run}} lines"),
                Query(expr=most("tunemill_journal_write_failures_total"), legend="{{run}} failed writes"),
            ],
            width=6,
        ),
        Panel(
            title="Memory",
            about="Is memory flat, as it is to be? It goes by what is in flight, never by the length of the run.",
            unit="bytes",
            queries=[Query(expr=most("process_resident_memory_bytes"))],
            width=6,
        ),
        Panel(
            title="CPU",
            about="Is one core enough? The process that decides uses at most one.",
            unit="percentunit",
            queries=[Query(expr=rate("process_cpu_seconds_total", _WINDOW))],
            width=3,
        ),
        Panel(
            title="Open files",
            about="How near is it to the limit of open files? Connections count.",
            unit="percentunit",
            queries=[Query(expr=f"{most('process_open_fds')} / {most('process_max_fds')}")],
            width=3,
        ),
    ],
)
