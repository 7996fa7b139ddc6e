"""tunemill and others on the same work: the same server, prompts and number of requests at once, each on one core.

Rates are what the server saw, from the first request to the last, so that nobody's imports count; processor time is
that of the whole command of tunemill, and of the others only that of making the completions. Each measurement has a
server of its own, and every round another order.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from bench.beside import Done, bare_loop, curator, python_of, whole_path
from bench.frame import Figure, Options, Part, Peer, at_least
from bench.recipes import table_recipe
from bench.running import Usage, tunemill_run
from bench.servers import Server, nginx, simulator

AT_ONCE = 64
AT_ONCE_UNDER_LIMITS = 256
LATENCY_S = 1.0  # under limits
MAX_TOKENS = 40
CURATOR_RATIO_MIN = 3.0
REQUESTS_PER_MINUTE = 3_000
TOKENS_PER_MINUTE = 400_000
MIXED_MAX_TOKENS = 200
# Words of a prompt in the mixed work, in turn: short questions among long documents, about 600 tokens each.
MIXED_WORDS = (10, 40, 1_500, 100, 300, 20, 800, 60, 200, 120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The prompts, as everybody reads them, and how they are to be sent."""

    prompts: Path
    count: int
    at_once: int
    max_tokens: int
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    tokens: int = 0  # of all requests, as a server counts them when it admits them


def measure(options: Options) -> Iterator[Figure]:
    """Without limits first, then with them."""
    python_of("curator"), python_of("sdk")
    yield from _without_limits("nginx", nginx, _plain_work(options, options.size(10_000, 2_000)), options)
    yield from _without_limits("simulator", simulator, _plain_work(options, options.size(3_000, 600)), options)
    requests = options.size(REQUESTS_PER_MINUTE, REQUESTS_PER_MINUTE // 5)
    work = _plain_work(options, requests, at_once=AT_ONCE_UNDER_LIMITS, requests_per_minute=REQUESTS_PER_MINUTE)
    yield from _under_limits(f"{REQUESTS_PER_MINUTE:,} requests/min", work, options)
    yield from _under_limits(f"{TOKENS_PER_MINUTE:,} tokens/min", _mixed_work(options), options)


def _plain_work(options: Options, count: int, *, at_once: int = AT_ONCE, requests_per_minute: int = 0) -> Work:
    texts = [f"A line about a red cat in the rain, case {number}." for number in range(count)]
    prompts = _written(options.folder / f"plain-{count}.jsonl", texts)
    return Work(
        prompts=prompts,
        count=count,
        at_once=at_once,
        max_tokens=MAX_TOKENS,
        requests_per_minute=requests_per_minute,
    )


def _mixed_work(options: Options) -> Work:
    count = options.size(600, 100)
    texts = [f"{number}: " + "rain " * MIXED_WORDS[number % len(MIXED_WORDS)] for number in range(count)]
    return Work(
        prompts=_written(options.folder / "mixed.jsonl", texts),
        count=count,
        at_once=AT_ONCE_UNDER_LIMITS,
        max_tokens=MIXED_MAX_TOKENS,
        tokens_per_minute=TOKENS_PER_MINUTE,
        tokens=sum(MIXED_MAX_TOKENS + math.ceil(len(text) / 4) for text in texts),
    )


def _written(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


# -- everybody on the same work --------------------------------------------------------------------------------------


def _run(work: Work, server: Server, folder: Path, *more: str) -> Usage:
    # Where there is no limit it is said, as it is to the others: nobody is to find out by and by.
    limits = f"""
concurrency = {work.at_once}
requests_per_minute = {work.requests_per_minute or 60_000_000}
tokens_per_minute = {work.tokens_per_minute or 60_000_000_000}
"""
    folder.mkdir()
    recipe = table_recipe(folder / "recipe.toml", table=work.prompts, max_tokens=work.max_tokens, limits=limits)
    return tunemill_run(recipe, folder / "run", *more, server=server.base_url)


def _tunemill(work: Work, server: Server, folder: Path) -> Done:
    return whole_path(_run(work, server, folder / "whole"), work.count).seen_by(server)


def _curator(work: Work, server: Server, folder: Path) -> Done:
    done = curator(
        server.base_url,
        work.prompts,
        at_once=work.at_once,
        max_tokens=work.max_tokens,
        requests_per_minute=work.requests_per_minute,
        tokens_per_minute=work.tokens_per_minute,
        folder=folder,
    )
    assert done.requests == work.count, f"curator has {done.requests} of {work.count} answers"
    return done.seen_by(server)


def _sdk(work: Work, server: Server, folder: Path) -> Done:
    return bare_loop(
        "default", server.base_url, calls=work.count, at_once=work.at_once, folder=folder, python=python_of("sdk")
    ).seen_by(server)


Client = Callable[[Work, Server, Path], Done]
OURS = "tunemill"
CLIENTS: Mapping[str, Client] = {OURS: _tunemill, "curator": _curator, "bare loop of typed SDK calls": _sdk}


# -- without limits --------------------------------------------------------------------------------------------------


def _without_limits(
    name: str, serving: Callable[[], AbstractContextManager[Server]], work: Work, options: Options
) -> Iterator[Figure]:
    done: dict[str, list[Done]] = {client: [] for client in CLIENTS}
    for number in range(options.rounds):
        for client in sorted(CLIENTS, reverse=number % 2 == 1):
            folder = options.folder / f"{name}-{number}-{client.split()[0]}"
            folder.mkdir()
            with serving() as server:
                done[client].append(CLIENTS[client](work, server, folder))
    for client in CLIENTS:
        if client != OURS:
            yield from _compared(name, done[OURS], client, done[client])


def _compared(name: str, ours: Sequence[Done], client: str, theirs: Sequence[Done]) -> Iterator[Figure]:
    values = [(us.rate, them.rate, us.rate / them.rate) for us, them in zip(ours, theirs, strict=True)]
    rates, peer_rates, ratios = (list(column) for column in zip(*values, strict=True))
    limit = at_least(CURATOR_RATIO_MIN) if client == "curator" and name == "nginx" else None
    yield Figure(name=f"{name}: requests", unit="requests/s", values=rates, peer=Peer(name=client, values=peer_rates))
    yield Figure(name=f"{name}: compared with {client}", unit="x", values=ratios, limit=limit)
    yield Figure(
        name=f"{name}: processor time of a request",
        unit="ms",
        values=[each.cpu_ms for each in ours],
        peer=Peer(name=client, values=[each.cpu_ms for each in theirs]),
    )
    yield Figure(
        name=f"{name}: resident memory",
        unit="MiB",
        values=[each.max_rss_mib for each in ours],
        peer=Peer(name=client, values=[each.max_rss_mib for each in theirs]),
    )


# -- under limits ----------------------------------------------------------------------------------------------------


def _under_limits(name: str, work: Work, options: Options) -> Iterator[Figure]:
    """The share of the limit that is used between the first request and the last, and what the server refused."""
    limit = "requests" if work.requests_per_minute else "tokens"
    words = (f"--{limit}-per-minute", str(work.requests_per_minute or work.tokens_per_minute))
    shares, refused = {}, {}
    for client in (OURS, "curator"):
        folder = options.folder / f"{limit}-{client}"
        folder.mkdir()
        with simulator(*words, "--latency-s", str(LATENCY_S)) as server:
            done = CLIENTS[client](work, server, folder)
            shares[client] = 100 * _seconds_due(work) / done.seconds
            refused[client] = 100 * server.books()["rate_limited"] / work.count
    yield Figure(
        name=f"share of {name}",
        unit="%",
        values=[shares[OURS]],
        note="from the first request to the last, without the second's worth that the server lets through at once",
        peer=Peer(name="curator", values=[shares["curator"]]),
    )
    yield Figure(
        name=f"refused under {name}",
        unit="%",
        values=[refused[OURS]],
        peer=Peer(name="curator", values=[refused["curator"]]),
    )


def _seconds_due(work: Work) -> float:
    """How long the limit needs for this work, less the second's worth that the server lets through at once at first."""
    due = work.count / work.requests_per_minute if work.requests_per_minute else work.tokens / work.tokens_per_minute
    return 60 * due - 1


PART = Part(
    title="Others on the same work",
    about=(
        "curator and a loop of typed SDK calls, each in an environment of its own (versions: `bench/clients/*.txt`), "
        f"on the same prompts and server; {AT_ONCE} requests at once, under limits {AT_ONCE_UNDER_LIMITS} "
        "(answers take 1 s then). Everybody is told the limits. curator's cache, viewer, display and telemetry are off."
    ),
    measure=measure,
)
