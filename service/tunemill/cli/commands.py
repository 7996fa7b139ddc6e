"""All commands, with what `--help` says of them. Each imports what it needs when it runs: help comes at once."""

from pathlib import Path
from typing import Annotated

import typer

from tunemill.cli import control
from tunemill.cli.options import AsJson, Backend, Budget, RecipeFile, RunName, count, flag, one_of, seconds

PROCESSES_MAX = 64
_ABOUT = "From a recipe to a fine-tuned model: plan, run, look, build, submit, watch."
_RUN_EPILOG = (
    "Keys come from the environment: OPENAI_API_KEY, or the variable that the recipe names. OPENAI_BASE_URL is "
    "honoured. Exit codes: 0 done, 2 a mistake, 3 budget reached, 4 some requests failed for good, 5 the provider "
    "refuses, 6 the fine-tuning job failed, 74 the folder cannot be written, 75 it is in use, 130 or 143 interrupted."
)

app = typer.Typer(
    name="tunemill",
    help=_ABOUT,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import tunemill

        typer.echo(f"tunemill {tunemill.__version__}")
        raise typer.Exit


@app.callback()
def tunemill_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The recipe's name; NAME.toml is written here.")],
    example: Annotated[
        str,
        flag(
            "--example",
            "What to start from: movie-plots, voice, writing-coach or synopses.",
            metavar="EXAMPLE",
            reads=one_of("movie-plots", "voice", "writing-coach", "synopses"),
        ),
    ] = "movie-plots",
) -> None:
    """Write a commented recipe to start from."""
    from tunemill.cli.init import write_recipe

    write_recipe(name, example)


@app.command()
def plan(recipe: RecipeFile, budget: Budget = None, as_json: AsJson = False) -> None:
    """Say what a recipe will do and cost. Sends nothing."""
    from tunemill.cli.plan import show_plan

    show_plan(recipe, budget, as_json=as_json)


@app.command()
def notify(recipe: RecipeFile, as_json: AsJson = False) -> None:
    """Send a test message to the webhook of the recipe's [notify]."""
    from tunemill.cli.notify import notify_command

    notify_command(recipe, as_json=as_json)


@app.command(epilog=_RUN_EPILOG)
def run(
    recipe: RecipeFile,
    limit: Annotated[
        int | None,
        flag(
            "--limit",
            "The pilot: only the first N rows, each answer shown as it comes, and no fine-tuning job.",
            metavar="N",
            reads=count(),
        ),
    ] = None,
    budget: Budget = None,
    until: Annotated[
        str | None,
        flag(
            "--until",
            "Where to stop: generate, build, submit or tuned. As far as the recipe goes, unless given.",
            metavar="STAGE",
            reads=one_of("generate", "build", "submit", "tuned"),
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        flag("--run-dir", "The run folder. runs/NAME, unless given.", metavar="DIR"),
    ] = None,
    listen: Annotated[
        str | None,
        flag(
            "--listen", "Serve the run's page there, and /metrics, /status, /healthz and /readyz.", metavar="HOST:PORT"
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        flag(
            "--token-file",
            "Holds the token for the page, which needs one beyond this machine. Or TUNEMILL_TOKEN is it.",
            metavar="FILE",
        ),
    ] = None,
    linger: Annotated[
        float,
        flag(
            "--linger",
            "Go on serving for so long after the end, for the last scrape to see it; a signal ends that.",
            metavar="SECONDS",
            reads=seconds,
        ),
    ] = 0.0,
    push_gateway: Annotated[
        str | None,
        flag(
            "--push-gateway",
            "Push the metrics to this Prometheus Pushgateway every 15 seconds and at the end.",
            metavar="URL",
        ),
    ] = None,
    otlp: Annotated[
        bool,
        flag("--otlp", "Export the metrics by OTLP over HTTP to where OTEL_EXPORTER_OTLP_ENDPOINT says."),
    ] = False,
    local: Annotated[bool, flag("--local", "Use the embedded server: no key, no cost.")] = False,
    backend: Backend = "llama",
    grace: Annotated[
        float,
        flag("--grace", "How long to wait at the end for what is in flight.", metavar="SECONDS", reads=seconds),
    ] = 30.0,
    keep_existing: Annotated[
        bool,
        flag("--keep-existing", "Keep a row's answer although its prompt changed."),
    ] = False,
    retry_failed: Annotated[
        bool,
        flag("--retry-failed", "Send again what failed for good before."),
    ] = False,
    processes: Annotated[
        int,
        flag(
            "--processes",
            "Send from so many processes beside this one; 1 sends from this one.",
            metavar="N",
            reads=count(PROCESSES_MAX),
        ),
    ] = 1,
    log_format: Annotated[
        str,
        flag(
            "--log-format",
            "auto (pretty on a terminal and in CI, else json), pretty, json or logfmt.",
            metavar="FORMAT",
            reads=one_of("auto", "pretty", "json", "logfmt"),
        ),
    ] = "auto",
    log_level: Annotated[
        str,
        flag(
            "--log-level",
            "debug, info, warning or error.",
            metavar="LEVEL",
            reads=one_of("debug", "info", "warning", "error"),
        ),
    ] = "info",
) -> None:
    """Generate, build, and with [fine_tune] submit and watch.

    What is answered is never paid for again: run it again to continue.
    """
    from tunemill.cli.run import RunFlags, run_command

    flags = RunFlags(
        recipe=recipe,
        limit=limit,
        budget=budget,
        until=until,
        run_dir=run_dir,
        listen=listen,
        token_file=token_file,
        linger=linger,
        push_gateway=push_gateway,
        otlp=otlp,
        local=backend if local else None,
        grace=grace,
        keep_existing=keep_existing,
        retry_failed=retry_failed,
        processes=processes,
        log_format=log_format,
        log_level=log_level,
    )
    raise typer.Exit(run_command(flags))


@app.command()
def status(run: RunName, as_json: AsJson = False) -> None:
    """Show a run's figures, live or on record."""
    from tunemill.cli.look import show_status

    show_status(run, as_json=as_json)


@app.command()
def runs(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A folder that holds run folders; runs, unless given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List runs: state, progress, cost, when last active.

    Whoever works on a run is asked; of the others it is what is on record. --json prints one object a line.
    """
    from tunemill.cli.runs import show_runs

    show_runs(folder, as_json=as_json)


for steering in (control.tune, control.pause, control.resume, control.reload):
    app.command()(steering)


@app.command()
def show(
    run: RunName,
    failed: Annotated[bool, flag("--failed", "Show what failed for good instead.")] = False,
    where: Annotated[
        str | None,
        flag("--where", "Only where this holds: chars < 200 and 'soon' in text", metavar="EXPRESSION"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print completions with their prompts.

    --where is a Jinja expression over the row's fields and text, step, outcome, chars, usd, sample and row_id.
    --json prints one object a line.
    """
    from tunemill.cli.look import show_completions

    show_completions(run, failed=failed, where=where, as_json=as_json)


@app.command()
def repair(
    run: RunName,
    dry_run: Annotated[bool, flag("--dry-run", "Change nothing; only say what would be done.")] = False,
    as_json: AsJson = False,
) -> int:
    """Set a damaged journal's lines aside, and say what that costs.

    Nothing is deleted: the lines go to damaged.jsonl, and what has to be paid again is named.
    """
    from tunemill.cli.repair import repair_command

    return repair_command(run, dry_run=dry_run, as_json=as_json)


@app.command()
def compress(run: RunName, as_json: AsJson = False) -> None:
    """Compress the finished files of a run's journal (zstd).

    Every command reads them as before, and so does zstdcat.
    """
    from tunemill.cli.repair import compress_command

    compress_command(run, as_json=as_json)


@app.command()
def build(run: RunName, as_json: AsJson = False) -> None:
    """Make the dataset and the report from the answers there are.

    Writes train.jsonl, validation.jsonl, rejects.jsonl, report.html and report.json into the run folder, by the recipe
    as it was last run. Nothing is sent.
    """
    from tunemill.cli.dataset import build_command

    build_command(run, as_json=as_json)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A fine-tune file, JSON Lines.")],
    model: Annotated[
        str | None,
        flag("--model", "The model that it shall train: for its limits and price.", metavar="MODEL"),
    ] = None,
    epochs: Annotated[int, flag("--epochs", "For the price.", metavar="N", reads=count())] = 3,
    as_json: AsJson = False,
) -> None:
    """Validate a fine-tune file: every fault, line and mend."""
    from tunemill.cli.dataset import check_command

    raise typer.Exit(check_command(file, model, epochs=epochs, as_json=as_json))


@app.command()
def submit(
    run: RunName,
    again: Annotated[bool, flag("--again", "Make another job although there is one.")] = False,
    budget: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Create the dataset's fine-tuning job, exactly once."""
    from tunemill.cli.tune import submit_command

    raise typer.Exit(submit_command(run, again=again, budget=budget, as_json=as_json))


@app.command()
def watch(run: RunName, as_json: AsJson = False) -> None:
    """Follow the fine-tuning job to its end.

    Stop it with Ctrl-C and start it again as you like: the job itself goes on.
    """
    from tunemill.cli.tune import watch_command

    watch_command(run, as_json=as_json)


@app.command()
def cancel(run: RunName, as_json: AsJson = False) -> None:
    """Cancel the fine-tuning job."""
    from tunemill.cli.tune import cancel_command

    cancel_command(run, as_json=as_json)


@app.command()
def chat(
    run: RunName,
    model: Annotated[str | None, flag("--model", "Another model than the tuned one.", metavar="MODEL")] = None,
    max_tokens: Annotated[
        int,
        flag("--max-tokens", "The longest answer.", metavar="N", reads=count()),
    ] = 400,
    backend: Backend = "llama",
) -> None:
    """Talk to the tuned model in the format that it learned.

    Questions are read from stdin, one a line, and answers go to stdout. Where the run was made with --local, the
    embedded server answers.
    """
    from tunemill.cli.chat import chat_command

    chat_command(run, model, max_tokens=max_tokens, backend=backend)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Run the embedded server (see `tunemill serve --help`)."""
    from tunemill.cli.serve import serve_command

    raise typer.Exit(serve_command(context.args))
