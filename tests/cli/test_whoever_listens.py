"""stderr that nobody reads any more, and what libraries say: neither ends a run nor gives anything away."""

import os
import subprocess

import pytest
from tests.cli.cli_support import COMMAND, KEY, RECIPE, Shell

FILMS = RECIPE[: RECIPE.index("[fine_tune]")]


@pytest.fixture
def poor(shell: Shell) -> Shell:
    """A run that ends with its budget reached: exit code 3."""
    shell.write("films.toml", FILMS.replace("usd = 1.0", "usd = 0.00013"))
    return shell


@pytest.mark.parametrize(
    "stderr",
    [
        "a pipe that is broken",
        pytest.param("closed", marks=pytest.mark.torture),
        pytest.param("a full disk", marks=pytest.mark.torture),
    ],
)
def test_the_exit_code_says_how_the_run_ended_and_not_who_listened(stderr: str, poor: Shell) -> None:
    """Whatever becomes of the log: all that could be paid was asked for and is on record."""
    command: list[str] | str = [COMMAND, "run", "films.toml"]
    read, write = os.pipe()
    os.close(read)
    if stderr == "closed":
        command = f"exec {COMMAND} run films.toml 2>&-"
    if stderr == "a full disk":
        os.close(write)
        write = os.open("/dev/full", os.O_WRONLY)
    try:
        done = subprocess.run(
            command,
            shell=isinstance(command, str),
            cwd=poor.cwd,
            env=poor.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=write,
            timeout=100,
            check=False,
        )
    finally:
        os.close(write)
    assert done.returncode == 3
    status = poor.run("status", "films", "--json").json()
    assert (status["state"], status["usd"]["reserved"]) == ("budget_reached", 0.0)


@pytest.mark.parametrize(
    "form",
    ["json", pytest.param("logfmt", marks=pytest.mark.torture), pytest.param("pretty", marks=pytest.mark.torture)],
)
def test_at_the_level_that_says_most_there_is_no_key_no_prompt_and_no_answer(form: str, shell: Shell) -> None:
    """Not even where the SDK was told to log its requests, as people do who look for a fault."""
    shell.write("films.toml", FILMS)
    done = subprocess.run(
        [COMMAND, "run", "films.toml", "--log-format", form, "--log-level", "debug"],
        cwd=shell.cwd,
        env=shell.env(OPENAI_LOG="debug", OPENAI_API_KEY="correct-horse-battery"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0
    answers = [line["text"] for line in shell.run("show", "films", "--json").lines()]
    assert len(answers) == 12
    given_away = [word for word in (KEY, "correct-horse-battery", "Plot a", *answers) if word in done.stderr]
    assert given_away == []
    if form == "json":
        lines = done.stderr.splitlines()
        logged = [line for line in lines if line.startswith('{"timestamp"')]
        assert [line for line in lines if line not in logged] == lines[len(logged) :]  # the last words to the person


def test_a_variable_sets_form_and_level(shell: Shell) -> None:
    """As in a container."""
    shell.write("films.toml", FILMS)
    env = {"TUNEMILL_LOG_FORMAT": "logfmt", "TUNEMILL_LOG_LEVEL": "warning"}
    ending = shell.run("run", "films.toml", "--budget", "0.00013", **env)
    logged = [line for line in ending.err.splitlines() if line.startswith("timestamp=")]
    assert logged[-1].split()[1:4] == ["level=warning", "event=run_ended", "run=films"]
    assert not [line for line in logged if "level=info" in line]
