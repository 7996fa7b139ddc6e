"""All commands, with what `--help` says of them. Each imports what it needs when it runs: help comes at once."""

from pathlib import Path
from typing import Annotated

import typer

from tunemill.cli.options import AsJson, Budget, Listen, LogFormatName, LogLevelName, RecipeFile, RunName

app = typer.Typer(
    name="tunemill",
    help="From a recipe to a fine-tuned model: plan, run, look, build, submit, watch.",
    no_args_is_help=True,
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a recipe to a fine-tuned model: plan, run, look, build, submit, watch."""


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="The recipe's name; NAME.toml is written.")],
    example: Annotated[
        str, typer.Option(help="What to start from: movie-plots, voice, writing-coach or synopses.")
    ] = "movie-plots",
) -> None:
    """Write a commented recipe to start from."""
    from tunemill.cli.init import write_recipe

    write_recipe(name, example)


@app.command()
def plan(recipe: RecipeFile, budget: Budget = None, as_json: AsJson = False) -> None:
    """Say what a recipe will do and cost. Spends nothing, sends nothing."""
    from tunemill.cli.plan import show_plan

    show_plan(recipe, budget, as_json=as_json)


@app.command()
def run(
    recipe: RecipeFile,
    limit: Annotated[
        int | None, typer.Option(envvar="TUNEMILL_LIMIT", min=1, help="The pilot: only the first N rows, shown.")
    ] = None,
    budget: Budget = None,
    until: Annotated[
        str | None,
        typer.Option(envvar="TUNEMILL_UNTIL", help="How far to go: generate, build, submit or tuned."),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(envvar="TUNEMILL_RUN_DIR", help="The run folder (runs/NAME).")] = None,
    listen: Listen = None,
    local: Annotated[
        bool, typer.Option("--local", envvar="TUNEMILL_LOCAL", help="Use the embedded server; costs nothing.")
    ] = False,
    backend: Annotated[
        str, typer.Option(envvar="TUNEMILL_BACKEND", help="With --local: llama (real text) or simulator.")
    ] = "llama",
    grace: Annotated[
        float, typer.Option(envvar="TUNEMILL_GRACE", min=0, help="Seconds to wait for what is in flight at the end.")
    ] = 30.0,
    keep_existing: Annotated[
        bool,
        typer.Option("--keep-existing", envvar="TUNEMILL_KEEP_EXISTING", help="Keep old answers of edited prompts."),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", envvar="TUNEMILL_RETRY_FAILED", help="Send again what failed for good before."),
    ] = False,
    log_format: LogFormatName = "auto",
    log_level: LogLevelName = "info",
) -> None:
    """Generate, build, and where the recipe has [fine_tune], submit and watch. Run it again to continue."""
    from tunemill.cli.run import RunFlags, run_command

    run_command(
        RunFlags(
            recipe=recipe,
            limit=limit,
            budget=budget,
            until=until,
            run_dir=run_dir,
            listen=listen,
            local=backend if local else None,
            grace=grace,
            keep_existing=keep_existing,
            retry_failed=retry_failed,
            log_format=log_format,
            log_level=log_level,
        )
    )


@app.command()
def status(run: RunName, as_json: AsJson = False) -> None:
    """Show a run's figures, from its folder alone, also while nothing is running."""
    from tunemill.cli.look import show_status

    show_status(run, as_json=as_json)


@app.command()
def show(
    run: RunName,
    failed: Annotated[bool, typer.Option("--failed", help="Show what failed for good instead.")] = False,
    where: Annotated[
        str | None,
        typer.Option(metavar="EXPRESSION", help="Only where this holds, as in: chars < 200 and 'soon' in text"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print completions with their prompts.

    --where is a Jinja expression over the row's fields and text, step, outcome, chars, usd, sample, row_id.
    """
    from tunemill.cli.look import show_completions

    show_completions(run, failed=failed, where=where, as_json=as_json)


@app.command()
def build(run: RunName, as_json: AsJson = False) -> None:
    """Make train.jsonl, validation.jsonl, rejects.jsonl and the report from the answers that are there."""
    from tunemill.cli.dataset import build_command

    build_command(run, as_json=as_json)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A fine-tune file, JSON Lines.")],
    model: Annotated[str | None, typer.Option(help="The model that it shall train: for its limits and price.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="For the price.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Validate any fine-tune file: every fault with line, field and mend."""
    from tunemill.cli.dataset import check_command

    check_command(file, model, epochs=epochs, as_json=as_json)


@app.command()
def submit(
    run: RunName,
    again: Annotated[bool, typer.Option("--again", help="Make another job although there is one.")] = False,
    budget: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Upload the dataset and create its fine-tuning job, exactly once."""
    from tunemill.cli.tune import submit_command

    submit_command(run, again=again, budget=budget, as_json=as_json)


@app.command()
def watch(run: RunName, as_json: AsJson = False) -> None:
    """Follow the fine-tuning job to its end. Stop and start it as you like."""
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
    model: Annotated[str | None, typer.Option(help="Another model than the tuned one.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 400,
) -> None:
    """Talk to the tuned model with the prompt format that it was trained on."""
    from tunemill.cli.chat import chat_command

    chat_command(run, model, max_tokens=max_tokens)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Run the embedded OpenAI-compatible server (see `tunemill serve --help`)."""
    from tunemill.local import main as serve_main

    raise typer.Exit(serve_main(context.args))
