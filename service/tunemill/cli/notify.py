"""`notify`: whether messages get through, found out before a run is left alone; and whom a recipe will notify."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tunemill.app.notifying import notifying_by, stalled_after_s
from tunemill.cli.output import print_json, print_line
from tunemill.clock import SystemClock
from tunemill.errors import ArgumentError, RecipeError
from tunemill.recipe import Recipe, load_recipe
from tunemill.settings import webhook_of
from tunemill.telemetry.notices import occasion_words, trial_notice

TEST_S = 20.0


def notify_command(path: Path, *, as_json: bool) -> None:
    """Send a test message. Raises RecipeError without `[notify]`, and ArgumentError where nothing gets through."""
    from tunemill.client.webhook import NotPosted, Patience, post

    recipe = load_recipe(path).recipe
    how = notifying_by(recipe, os.environ, is_rehearsal=False)
    if recipe.notify is None or how is None:
        mend = 'add one with webhook_env = "SLACK_WEBHOOK", the name of the variable that holds the address'
        raise RecipeError("there is no [notify] table", mend=mend, file=path)
    notice = trial_notice(recipe.name, recipe.notify.on, how.stalled_after_s)
    patience = Patience(attempt_s=TEST_S / 2, total_s=TEST_S)
    outcome = asyncio.run(post(how.webhook.url, notice.to_json(), patience=patience, clock=SystemClock()))
    if isinstance(outcome, NotPosted):
        mend = "see that the address in the variable is the webhook's, and that it can be reached from here"
        problem = f"the test message did not arrive at {how.webhook.host}: {outcome.problem}"
        raise ArgumentError(problem, mend=mend, key=recipe.notify.webhook_env)
    if as_json:
        print_json({"host": how.webhook.host, "text": notice.text})
    else:
        print_line(f"sent to {how.webhook.host}: {notice.text}")


def notify_words(recipe: Recipe, environment: Mapping[str, str]) -> Iterator[str]:
    """Whom a run of the recipe will notify, of what, and what stands in the way; nothing without `[notify]`."""
    section = recipe.notify
    if section is None:
        return
    try:
        where = webhook_of(section, environment).host
    except ArgumentError as error:
        yield f"NOBODY: {error}"
        return
    yield f"{where} (the address in {section.webhook_env}) of {occasion_words(section.on, stalled_after_s(recipe))}"
