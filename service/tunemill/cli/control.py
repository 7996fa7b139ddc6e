"""`tune`, `pause`, `resume`, `reload`: asks the process that works on a run for something, and says what came of it."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from tunemill.cli.options import AsJson, RunName, count, dollars_above_zero, flag, rate

# The flags of `tune` read no variable but their own: TUNEMILL_BUDGET is what `run` began with, in the same container.
_LABELS = {
    "requests_per_minute": "requests per minute",
    "tokens_per_minute": "tokens per minute",
    "concurrency": "at once",
    "budget_usd": "budget",
}


def tune(
    run: RunName,
    rpm: Annotated[
        float | None,
        flag("--rpm", "Requests per minute, of each model.", metavar="N", reads=rate(1e9), of="tune"),
    ] = None,
    tpm: Annotated[
        float | None,
        flag("--tpm", "Tokens per minute, of each model.", metavar="N", reads=rate(1e12), of="tune"),
    ] = None,
    concurrency: Annotated[
        int | None,
        flag("--concurrency", "How many at once, of each model.", metavar="N", reads=count(), of="tune"),
    ] = None,
    budget: Annotated[
        float | None,
        flag("--budget", "Dollars, for the whole run.", metavar="USD", reads=dollars_above_zero, of="tune"),
    ] = None,
    model: Annotated[
        str | None,
        flag("--model", "Only this model's limits.", metavar="MODEL", of="tune"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change limits and budget of a run under way, at once.

    What is changed holds until the process ends. The recipe is untouched, and the next run goes by it.
    """
    wanted = {"requests_per_minute": rpm, "tokens_per_minute": tpm, "concurrency": concurrency, "budget_usd": budget}
    _steer(run, {"do": "tune", "model": model, **wanted}, as_json=as_json)


def pause(run: RunName, as_json: AsJson = False) -> None:
    """Stop a run under way from sending until `resume`.

    What is in flight arrives and is kept.
    """
    _steer(run, {"do": "pause"}, as_json=as_json)


def resume(run: RunName, as_json: AsJson = False) -> None:
    """Let a paused run go on, within its limits."""
    _steer(run, {"do": "resume"}, as_json=as_json)


def reload(run: RunName, as_json: AsJson = False) -> None:
    """Have a run under way read its recipe again.

    SIGHUP does the same. Templates, parameters, limits and budget then hold for all that has not left. Answers stay. A
    recipe that cannot be used is refused, and the run goes on as before.
    """
    _steer(run, {"do": "reload"}, as_json=as_json)


def _steer(name: str, request: Mapping[str, Any], *, as_json: bool) -> None:
    from tunemill.app.control import steer
    from tunemill.app.folder import existing
    from tunemill.cli.output import print_json, print_line, talk

    reply = steer(existing(name), request)
    if as_json:
        print_json(reply)
        return
    for change in reply["changes"]:
        print_line(_words(change))
    for note in reply["notes"]:
        talk(note[:1].upper() + note[1:])


def _words(change: Mapping[str, Any]) -> str:
    of = f" of {change['model']}" if change["model"] else ""
    return f"{_LABELS.get(change['what'], change['what'])}{of}: " + " -> ".join(_figures(change))


def _figures(change: Mapping[str, Any]) -> Iterator[str]:
    is_money = change["what"] == "budget_usd"
    for value in (change["before"], change["after"]):
        if value is None:
            yield "none" if is_money else "not known"
        else:
            yield f"${value:,.2f}" if is_money else f"{value:,.15g}"
