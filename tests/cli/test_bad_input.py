"""Every mistake gets one message that says where it is and what to do; nothing is sent, and nothing is left behind."""

import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.cli.cli_support import RECIPE, Shell, environment, forked, installed
from tests.support.simulator import Simulator

from tunemill.files import Lock

ANOTHER = "choose another with --run-dir"
MEND_DOLLARS = "give dollars above zero, such as 25"
MEND_COUNT = "give one, such as 10"
MEND_LISTEN = "write HOST:PORT, such as 127.0.0.1:9400 for this machine alone or 0.0.0.0:9400 for everybody"
MEND_URL = "set it to something like https://host/v1"
MEND_JOURNAL = (
    "`tunemill repair runs/films` sets aside what is damaged and says what that costs; or restore the file from a copy"
)
MEND_FINETUNE = (
    "restore it from a backup; without one, look at the target for the run's fine-tuning job, move this file away "
    "and run `tunemill submit`, which takes up a job that it finds"
)
MEND_EXAMPLES = "name a file of training examples, in JSON Lines"


def _recipe(*changes: tuple[str, str]) -> str:
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def _with_source(source: str, prompt: str) -> str:
    """The recipe on another source; it has a step, and nothing to train."""
    head, _, rest = RECIPE.partition("[source]")
    steps = rest[rest.index("[[steps]]") : rest.index("[clean]")]
    return f"{head}[source]\n{source}\n" + steps.replace("Plot a {{ genre }} film in {{ place }}.", prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What a person does, and what they are told. {cwd} stands for the folder, {port} for one that is taken."""

    args: str
    message: str
    files: dict[str, str | bytes] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    code: int = 2


def _table(kind: str, content: str | bytes, **more: str) -> dict[str, str | bytes]:
    name = f"rows.{kind}"
    source = f'kind = "table"\npath = "{name}"'
    return {"films.toml": _with_source(source, "Plot {{ a }}."), name: content, **more}


# -- flags and arguments ---------------------------------------------------------------------------------------------

FLAGS = {
    "push gateway that is no address": Mistake(
        args="run films.toml --push-gateway pushgateway:9091",
        files={"films.toml": RECIPE},
        message=(
            "--push-gateway = 'pushgateway:9091': does not start with http:// or https://; write it as "
            "http://pushgateway:9091"
        ),
    ),
    "push gateway with a password": Mistake(
        args="run films.toml",
        files={"films.toml": RECIPE},
        env={"TUNEMILL_PUSH_GATEWAY": "http://me:secret@pushgateway:9091"},
        message=(
            "TUNEMILL_PUSH_GATEWAY: there is a password or a key in it; take it out, and let a proxy on this machine "
            "add it"
        ),
    ),
    "linger before it ends": Mistake(
        args="run films.toml --linger -5",
        files={"films.toml": RECIPE},
        message="--linger = '-5': is out of range; give seconds, such as 30, or 0 not to wait",
    ),
    "linger where nothing is served": Mistake(
        args="run films.toml --linger 90",
        files={"films.toml": RECIPE},
        message=(
            "--linger = '90': there is nothing to go on serving; give --listen as well, such as --listen 127.0.0.1:9400"
        ),
    ),
    "no recipe": Mistake(args="run", message="missing argument 'RECIPE'; see `tunemill run --help`"),
    "unknown command": Mistake(args="evalute", message="no such command 'evalute'; see `tunemill --help`"),
    "unknown flag": Mistake(
        args="run films.toml --limitt 3",
        message="no such option: --limitt (Possible options: --limit, --listen); see `tunemill run --help`",
    ),
    "too much": Mistake(
        args="run films.toml more", message="got unexpected extra argument(s) (more); see `tunemill run --help`"
    ),
    "budget negative": Mistake(
        args="run films.toml --budget -1", message=f"--budget = '-1': is out of range; {MEND_DOLLARS}"
    ),
    "budget nan": Mistake(
        args="run films.toml --budget nan", message=f"--budget = 'nan': is out of range; {MEND_DOLLARS}"
    ),
    "budget a word": Mistake(
        args="run films.toml --budget=lots", message=f"--budget = 'lots': is not a number; {MEND_DOLLARS}"
    ),
    "budget of a plan": Mistake(
        args="plan films.toml --budget 0", message=f"--budget = '0': is out of range; {MEND_DOLLARS}"
    ),
    "budget in the environment": Mistake(
        args="run films.toml",
        env={"TUNEMILL_BUDGET": "lots"},
        message=f"TUNEMILL_BUDGET = 'lots': is not a number; {MEND_DOLLARS}",
    ),
    "limit zero": Mistake(
        args="run films.toml --limit 0", message=f"--limit = '0': is no whole number from 1; {MEND_COUNT}"
    ),
    "limit in the environment": Mistake(
        args="run films.toml",
        env={"TUNEMILL_LIMIT": "ten"},
        message=f"TUNEMILL_LIMIT = 'ten': is no whole number from 1; {MEND_COUNT}",
    ),
    "yes or no in the environment": Mistake(
        args="run films.toml",
        env={"TUNEMILL_LOCAL": "maybe"},
        message="TUNEMILL_LOCAL = 'maybe': is neither yes nor no; set it to 1 or 0",
    ),
    "until": Mistake(
        args="run films.toml --until never",
        message="--until = 'never': is not known; choose one of generate, build, submit, tuned",
    ),
    "backend": Mistake(
        args="run films.toml --local --backend magic",
        message="--backend = 'magic': is not known; choose one of llama, simulator",
    ),
    "grace": Mistake(
        args="run films.toml --grace inf",
        message="--grace = 'inf': is out of range; give seconds, such as 30, or 0 not to wait",
    ),
    "log format": Mistake(
        args="run films.toml --log-format xml",
        message="--log-format = 'xml': is not known; choose one of auto, pretty, json, logfmt",
    ),
    "log level in the environment": Mistake(
        args="run films.toml",
        env={"TUNEMILL_LOG_LEVEL": "loud"},
        message="TUNEMILL_LOG_LEVEL = 'loud': is not known; choose one of debug, info, warning, error",
    ),
    "listen without a port": Mistake(
        args="run films.toml --listen localhost",
        message=f"--listen = 'localhost': the port must be a whole number from 0 to 65535; {MEND_LISTEN}",
    ),
    "listen in the environment": Mistake(
        args="run films.toml",
        env={"TUNEMILL_LISTEN": "http://0.0.0.0:9400"},
        message=f"TUNEMILL_LISTEN = 'http://0.0.0.0:9400': it is an address to listen at and not a URL; {MEND_LISTEN}",
    ),
    "token too short": Mistake(
        args="run films.toml --listen 0",
        env={"TUNEMILL_TOKEN": "hush"},
        message=(
            "TUNEMILL_TOKEN: the token in it has 4 characters; take 16 to 1,000, such as what `openssl rand -hex 16` "
            "prints"
        ),
    ),
    "token file missing": Mistake(
        args="run films.toml --listen 0 --token-file token",
        message=(
            "--token-file = 'token': cannot be read (No such file or directory); give a file that holds the token and "
            "nothing else"
        ),
    ),
    "token file in the environment": Mistake(
        args="run films.toml --listen 0",
        env={"TUNEMILL_TOKEN_FILE": "token"},
        files={"token": b"two words of sixteen"},
        message=(
            "TUNEMILL_TOKEN_FILE: the token in it holds blanks, or characters that no header can carry; take letters "
            "and digits, such as what `openssl rand -hex 16` prints"
        ),
    ),
    "two tokens": Mistake(
        args="run films.toml --listen 0 --token-file token",
        env={"TUNEMILL_TOKEN": "0123456789abcdef"},
        files={"token": "0123456789abcdef"},
        message="--token-file = 'token': TUNEMILL_TOKEN is set, too; give one of the two",
    ),
    "listen at a port in use": Mistake(
        args="run films.toml --listen 127.0.0.1:{port}",
        message=(
            "--listen = '127.0.0.1:{port}': cannot listen there (Address already in use); take another port, or port 0 "
            "for any free one, and a host that this machine has, such as 127.0.0.1"
        ),
    ),
    "name for init": Mistake(
        args="init ../films",
        message=(
            "NAME = '../films': is no name for a run; use letters, digits, dots, dashes and underscores, at most 64, "
            "a letter or digit first"
        ),
    ),
    "example for init": Mistake(
        args="init films --example poems",
        message=("--example = 'poems': is not known; choose one of movie-plots, voice, writing-coach, synopses"),
    ),
    "init where something is": Mistake(
        args="init films", message="films.toml: it is there already; choose another name"
    ),
    "init beside other files": Mistake(
        args="init voices --example voice",
        files={"odile.jsonl": "mine\n"},
        message="odile.jsonl: it is there already; start in another folder",
    ),
}

# -- keys and addresses ----------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "no key": Mistake(
        args="run films.toml",
        env={"OPENAI_API_KEY": ""},
        message=(
            "OPENAI_API_KEY: the environment variable is not set; export it with the key for [provider], "
            "or add --local to try the recipe for nothing"
        ),
    ),
    "no key for another provider": Mistake(
        args="run films.toml",
        files={
            "films.toml": _recipe(
                ('model = "gpt-4o-mini"', 'model = "gpt-4o-mini"\nprovider = "judge"'),
                (
                    "[source]",
                    '[providers.judge]\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "JUDGE_KEY"\n[source]',
                ),
                ("[budget]\nusd = 1.0\n", ""),
            )
        },
        message=(
            "JUDGE_KEY: the environment variable is not set; export it with the key for [providers.judge], "
            "or add --local to try the recipe for nothing"
        ),
    ),
    "key with a line break": Mistake(
        args="run films.toml",
        env={"OPENAI_API_KEY": "sk-one\nsk-two"},
        message=(
            "OPENAI_API_KEY: the key in it holds characters that no key has (a line break, or letters outside ASCII); "
            "set it to the key alone, as the provider shows it"
        ),
    ),
    "key with an accent": Mistake(
        args="run films.toml",
        env={"OPENAI_API_KEY": "sk-clé"},
        message=(
            "OPENAI_API_KEY: the key in it holds characters that no key has (a line break, or letters outside ASCII); "
            "set it to the key alone, as the provider shows it"
        ),
    ),
    "address without a scheme": Mistake(
        args="run films.toml",
        env={"OPENAI_BASE_URL": "api.example.com/v1"},
        message=f"OPENAI_BASE_URL = 'api.example.com/v1': does not start with http:// or https://; {MEND_URL}",
    ),
    "address with half a bracket": Mistake(
        args="plan films.toml",
        env={"OPENAI_BASE_URL": "http://[::1/v1"},
        message=f"OPENAI_BASE_URL = 'http://[::1/v1': is no address; {MEND_URL}",
    ),
    "address with a port that is none": Mistake(
        args="run films.toml",
        env={"OPENAI_BASE_URL": "http://localhost:port/v1"},
        message=f"OPENAI_BASE_URL = 'http://localhost:port/v1': is no address; {MEND_URL}",
    ),
    "address of an endpoint": Mistake(
        args="run films.toml",
        env={"OPENAI_BASE_URL": "http://localhost/v1/chat/completions"},
        message=(
            "OPENAI_BASE_URL = 'http://localhost/v1/chat/completions': names an endpoint, which is added to it; "
            + MEND_URL
        ),
    ),
    "password in the address": Mistake(
        args="run films.toml",
        env={"OPENAI_BASE_URL": "https://me:secret@localhost/v1"},
        message=("OPENAI_BASE_URL: there is a password or a key in it; take it out; keys have variables of their own"),
    ),
}

# -- the recipe and its source ---------------------------------------------------------------------------------------

RECIPES = {
    "no such file": Mistake(
        args="run film.toml",
        message="{cwd}/film.toml: there is no such file; check the name and the folder",
    ),
    "a folder": Mistake(
        args="run stories",
        files={"stories/one.txt": "Once."},
        message="{cwd}/stories: is a folder; name the file of a recipe in it",
    ),
    "binary": Mistake(
        args="plan films.toml",
        files={"films.toml": b'name = "films"\n\x89PNG\xff'},
        message="{cwd}/films.toml:2: byte 16 is not UTF-8; save the file as UTF-8",
    ),
    "empty": Mistake(
        args="run films.toml",
        files={"films.toml": "\n"},
        message="{cwd}/films.toml: the file is empty; start from `tunemill init NAME`",
    ),
    "a key of a recipe misspelt": Mistake(
        args="run films.toml",
        files={"films.toml": _recipe(("max_tokens = 40", "max_tokens = 40\n[limit]\nconcurrency = 2"))},
        message="{cwd}/films.toml: limit: unknown key; did you mean limits?",
    ),
    "key in the recipe": Mistake(
        args="run films.toml",
        files={"films.toml": _recipe(("[source]", '[provider]\napi_key = "sk-abcdefghijklmnop"\n[source]'))},
        message=(
            "{cwd}/films.toml: provider.api_key: a key may not be written into a recipe (it is not shown here); put it "
            'into an environment variable and name that, such as api_key_env = "OPENAI_API_KEY"; if this file was '
            "shared, have the key replaced"
        ),
    ),
    "unknown field": Mistake(
        args="run films.toml",
        files={"films.toml": _recipe(("film in {{ place }}", "film in {{ places }}"))},
        message=(
            "{cwd}/films.toml: steps[0].prompt: it uses {{ places }}, which no row has; did you mean {{ place }}?"
        ),
    ),
    "price not known": Mistake(
        args="run films.toml",
        files={"films.toml": _recipe(('model = "gpt-4o-mini"', 'model = "my-model"'))},
        message=(
            "{cwd}/films.toml: steps[0].model = 'my-model': no price is known for this model at {base_url}, so no "
            "budget can be kept; write [pricing.my-model] with input_per_million and output_per_million in dollars "
            "(0 for a model of your own), or run without a budget"
        ),
    ),
    "price not known, and the budget on the command line": Mistake(
        args="run films.toml --budget 2",
        files={"films.toml": _recipe(('model = "gpt-4o-mini"', 'model = "my-model"'), ("[budget]\nusd = 1.0\n", ""))},
        message=(
            "{cwd}/films.toml: steps[0].model = 'my-model': no price is known for this model at {base_url}, so no "
            "budget can be kept; write [pricing.my-model] with input_per_million and output_per_million in dollars "
            "(0 for a model of your own), or run without a budget"
        ),
    ),
    "no max_tokens under a budget": Mistake(
        args="run films.toml",
        files={"films.toml": _recipe(("max_tokens = 40", "temperature = 1.0"))},
        message=(
            "{cwd}/films.toml: steps[0].params: under a budget every step sets max_tokens or max_completion_tokens, "
            "and 'plot' sets none; write max_tokens = 1000, say: it bounds what one answer can cost"
        ),
    ),
    "build without [train]": Mistake(
        args="run films.toml --until build",
        files=_table("csv", "a\nx\n"),
        message=(
            "{cwd}/films.toml: there is no [train] table, and --until build needs one; add one (see `tunemill init`), "
            "or stop before"
        ),
    ),
    "submit without [fine_tune]": Mistake(
        args="run films.toml --until submit",
        files={"films.toml": RECIPE[: RECIPE.index("[fine_tune]")]},
        message=(
            "{cwd}/films.toml: there is no [fine_tune] table, and --until submit needs one; add one (see `tunemill "
            "init`), or stop before"
        ),
    ),
    "ragged CSV": Mistake(
        args="run films.toml",
        files=_table("csv", "a,b\n1,2\n3\n"),
        message=(
            "{cwd}/rows.csv:3: 1 cells, and the header names 2 columns; quote a cell that holds ',' or a line end, "
            "and leave none out"
        ),
    ),
    "JSONL with half a line": Mistake(
        args="run films.toml",
        files=_table("jsonl", '{"a": 1}\n{"a": \n'),
        message=(
            "{cwd}/rows.jsonl:2: not JSON at column 1 (unexpected end of data); write one whole JSON object a line, "
            "with no comma after it"
        ),
    ),
    "table that is not there": Mistake(
        args="run films.toml",
        files={"films.toml": _with_source('kind = "table"\npath = "no.csv"', "Plot {{ a }}.")},
        message=(
            "{cwd}/films.toml: source.path = 'no.csv': there is no such file; paths are relative to the recipe: "
            "this is {cwd}/no.csv"
        ),
    ),
    "glob that finds nothing": Mistake(
        args="plan films.toml",
        files={"films.toml": _with_source('kind = "files"\npaths = ["stories/*.txt"]', "Plot {{ text }}.")},
        message=(
            "{cwd}/films.toml: source.paths = 'stories/*.txt': no file matches; globs are relative to {cwd}; "
            "** reaches into folders"
        ),
    ),
    "story that is not UTF-8": Mistake(
        args="run films.toml",
        files={
            "films.toml": _with_source('kind = "files"\npaths = ["stories/*.txt"]', "Plot {{ text }}."),
            "stories/a.txt": "Once.",
            "stories/b.txt": "Un café".encode("latin-1"),
        },
        message="{cwd}/stories/b.txt:1: byte 7 (0xe9) is not UTF-8; save the file as UTF-8, or leave it out",
    ),
}

# -- the run folder --------------------------------------------------------------------------------------------------

FOLDERS = {
    "a file in the place of the folder": Mistake(
        args="run films.toml --run-dir films.toml", message=f"films.toml: is not a folder; {ANOTHER}"
    ),
    "a file on the way to the folder": Mistake(
        args="run films.toml",
        env={"TUNEMILL_RUN_DIR": "films.toml/here"},
        message=f"films.toml: is not a folder; {ANOTHER}",
    ),
    "a folder that cannot be made": Mistake(
        args="run films.toml --run-dir /proc/films",
        message=f"/proc/films: the run folder cannot be made or written (No such file or directory); {ANOTHER}",
    ),
    "a folder of something else": Mistake(
        args="run films.toml --run-dir stories",
        files={"stories/one.txt": "Once."},
        message=f"stories: the folder holds other things (one.txt) and no run; {ANOTHER}",
    ),
    "status of nothing": Mistake(
        args="status films",
        message=(
            "RUN = 'films': not a run folder, nor the name of one under runs/; there is no run here yet: start one "
            "with `tunemill run`"
        ),
    ),
    "show of nothing": Mistake(
        args="show films.toml",
        message=(
            "RUN = 'films.toml': not a run folder, nor the name of one under runs/; there is no run here yet: start "
            "one with `tunemill run`"
        ),
    ),
    "check of nothing": Mistake(args="check train.jsonl", message=f"train.jsonl: is not there; {MEND_EXAMPLES}"),
    "check of a folder": Mistake(args="check .", message=f".: is not a file; {MEND_EXAMPLES}"),
    "serve at a port that is none": Mistake(
        args="serve --port 70000",
        message="argument --port: 70000 must be from 0 to 65535; see `tunemill serve --help`",
    ),
    "serve at a port in use": Mistake(
        args="serve --port {port}",
        message=(
            "cannot serve on 127.0.0.1 port {port}: [Errno 98] Address already in use; choose another --host or --port"
        ),
    ),
}
MISTAKES = FLAGS | ENVIRONMENT | RECIPES | FOLDERS
AS_PROCESSES = ("listen at a port in use", "no key", "ragged CSV", "serve at a port in use")
AS_PROCESSES_TOO = (
    "budget in the environment",
    "yes or no in the environment",
    "key with a line break",
    "address with half a bracket",
    "binary",
    "key in the recipe",
    "a file on the way to the folder",
    "status of nothing",
)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_message_and_changes_nothing(
    name: str, shell: Shell, simulator: Simulator, taken_port: int
) -> None:
    """Exit 2 (or what is fit), one line, no output, nothing sent, no file made."""
    mistake = MISTAKES[name]
    args, message = _prepared(mistake, shell.cwd, simulator, taken_port)
    before = _everything_in(shell.cwd)
    ending = shell.run(*args, **mistake.env)
    assert ending.err == message
    assert (ending.code, ending.out) == (mistake.code, "")
    assert _everything_in(shell.cwd) == before
    assert simulator.books()["received"] == 0


@pytest.mark.parametrize(
    "name", [*AS_PROCESSES, *(pytest.param(name, marks=pytest.mark.torture) for name in AS_PROCESSES_TOO)]
)
def test_the_installed_command_says_the_same(name: str, tmp_path: Path, simulator: Simulator, taken_port: int) -> None:
    """The command as it is installed, in a process of its own."""
    mistake = MISTAKES[name]
    args, message = _prepared(mistake, tmp_path, simulator, taken_port)
    ending = installed(*args, cwd=tmp_path, env=environment(simulator.base_url, **mistake.env))
    assert (ending.code, ending.out, ending.err) == (mistake.code, "", message)


def _prepared(mistake: Mistake, cwd: Path, simulator: Simulator, port: int) -> tuple[list[str], str]:
    for name, content in {"films.toml": RECIPE, **mistake.files}.items():
        path = cwd / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    known = {"{cwd}": str(cwd), "{port}": str(port), "{base_url}": simulator.base_url}
    args, message = mistake.args, mistake.message
    for word, meaning in known.items():
        args, message = args.replace(word, meaning), message.replace(word, meaning)
    program = "tunemill serve" if args.startswith("serve") else "tunemill"
    return args.split(), f"{program}: {message}\n"


def _everything_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if path.name != "lock"
    }


# -- a run folder that something happened to -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, one_simulator: Simulator) -> Path:
    """A folder with a finished run of the recipe, as a process leaves it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "films.toml").write_text(RECIPE)
    ending = forked("run", "films.toml", "--until", "submit", cwd=folder, env=environment(one_simulator.base_url))
    assert ending.code == 0, ending.err
    return folder


@pytest.fixture
def spoilt(finished: Path, shell: Shell) -> Path:
    """A copy of that run's folder, in the shell's folder, to be spoilt."""
    shutil.copytree(finished, shell.cwd, dirs_exist_ok=True)
    return shell.cwd / "runs" / "films"


def _flip_a_byte(run: Path) -> None:
    path = run / "journal" / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"kind":"row"', b'"kind":"roe"', 1)
    path.write_bytes(b"".join(lines))


def _lose_the_first_segment(run: Path) -> None:
    (run / "journal" / "000001.jsonl").rename(run / "journal" / "000002.jsonl")


def _damage_the_record(run: Path) -> None:
    (run / "finetune.json").write_text('{"format": 1,\n "run"')


def _lose_the_recipe(run: Path) -> None:
    (run / "recipe.toml").unlink()


def _damage_the_recipe(run: Path) -> None:
    (run / "recipe.toml").write_text('name = "films\n')


def _lose_the_dataset(run: Path) -> None:
    for name in ("train.jsonl", "validation.jsonl", "inference.json"):
        (run / name).unlink()


def _forget_the_job(run: Path) -> None:
    (run / "finetune.json").unlink()


def _as_of_another_recipe(run: Path) -> None:
    (run.parent.parent / "films.toml").write_text(RECIPE.replace('name = "films"', 'name = "movies"'))


def _nothing(run: Path) -> None:
    assert run.is_dir()


FILE = "runs/films"
JOURNAL = f"{FILE}/journal/000001.jsonl"
DAMAGED_JOURNAL = f"{JOURNAL}:4: the journal is damaged: its checksum does not fit; {MEND_JOURNAL}"
LOST_SEGMENT = f"{JOURNAL}: a segment of the journal is missing; restore it from a copy"
DAMAGED_RECORD = f"{FILE}/finetune.json:2: damaged: is not JSON; {MEND_FINETUNE}"
LOST_RECIPE = f"{FILE}/recipe.toml: the run's copy of its recipe is gone; run the recipe again: it writes its copy anew"
DAMAGED_RECIPE = (
    "{cwd}/runs/films/recipe.toml:1: not TOML: illegal character '\\n' at column 14; texts stand in quotes, a key "
    'stands once in its table, between "double" quotes \\ is written \\\\'
)
NO_JOB = (
    f"{FILE}/finetune.json: there is no fine-tuning job to follow (its state is 'nothing'); `tunemill submit` makes "
    "one, or finds the one that was made"
)


@pytest.mark.parametrize(
    ("spoil", "args", "message"),
    [
        (_flip_a_byte, "run films.toml", DAMAGED_JOURNAL),
        (_flip_a_byte, "status films", DAMAGED_JOURNAL),
        (_flip_a_byte, "show films", DAMAGED_JOURNAL),
        (_flip_a_byte, "build films", DAMAGED_JOURNAL),
        (_lose_the_first_segment, "run films.toml", LOST_SEGMENT),
        (_lose_the_first_segment, "status films", LOST_SEGMENT),
        (_damage_the_record, "run films.toml --until build", DAMAGED_RECORD),
        (_damage_the_record, "status films", DAMAGED_RECORD),
        (_damage_the_record, "submit films", DAMAGED_RECORD),
        (_damage_the_record, "watch films", DAMAGED_RECORD),
        (_damage_the_record, "cancel films", DAMAGED_RECORD),
        (_damage_the_record, "chat films", DAMAGED_RECORD),
        (_lose_the_recipe, "status films", LOST_RECIPE),
        (_lose_the_recipe, "build films", LOST_RECIPE),
        (_damage_the_recipe, "show films", DAMAGED_RECIPE),
        (_lose_the_dataset, "chat films", f"{FILE}/inference.json: cannot be read (No such file or directory); "
         "build the dataset first: tunemill build"),
        (_lose_the_dataset, "submit films", f"{FILE}/train.jsonl: cannot be read (No such file or directory); "
         "run `tunemill build` first"),
        (_forget_the_job, "watch films", NO_JOB),
        (_forget_the_job, "cancel films", NO_JOB),
        (_forget_the_job, "chat films", f"{FILE}: the run has no tuned model yet; let `tunemill watch` see the "
         "fine-tuning job end, or name one with --model"),
        (_as_of_another_recipe, f"run films.toml --run-dir {FILE}", f"{FILE}: the folder holds the run of another "
         f"recipe ('films'); {ANOTHER}, or another name in the recipe"),
        (_nothing, f"run films.toml --run-dir {FILE} --local --backend simulator", f"{FILE}: the folder holds a real "
         f"run, and real and simulated answers and dollars are not mixed; {ANOTHER} for the simulated one"),
        (_nothing, "show films --where chars<", "--where = 'chars<': not an expression: unexpected 'end of template'; "
         "write it like: chars < 200 and 'soon' in text"),
        (_nothing, "show films --where gender", "--where = 'gender': 'gender' is undefined; the names are chars, "
         "duration_s, fields, genre, model, outcome, place, position, prompt, refusal, request_id, row, row_id, "
         "sample, step, text, tool_calls, usage, usd"),
        (_nothing, "status film", "RUN = 'film': not a run folder, nor the name of one under runs/; runs here: films"),
        (_nothing, "submit films --budget nan", f"--budget = 'nan': is out of range; {MEND_DOLLARS}"),
        (_nothing, "chat films --max-tokens 0", f"--max-tokens = '0': is no whole number from 1; {MEND_COUNT}"),
    ],
)  # fmt: skip
def test_a_spoilt_run_folder_is_named_and_left_as_it_is(
    spoil: Callable[[Path], None], args: str, message: str, spoilt: Path, shell: Shell, simulator: Simulator
) -> None:
    """The file, the line, the mend; the folder stays as it was, and nobody is asked anything."""
    spoil(spoilt)
    before = _everything_in(shell.cwd)
    ending = shell.run(*args.split())
    assert ending.err == f"tunemill: {message.replace('{cwd}', str(shell.cwd))}\n"
    assert (ending.code, ending.out) == (2, "")
    assert _everything_in(shell.cwd) == before
    assert simulator.books()["received"] == 0


@pytest.mark.parametrize("args", ["run films.toml", "build films", "submit films", "watch films", "cancel films"])
def test_a_folder_in_use_is_75(args: str, spoilt: Path, shell: Shell) -> None:
    """Two writers would spoil the journal; the message names the process that is there."""
    lock = Lock(spoilt / "lock")
    try:
        ending = shell.run(*args.split())
    finally:
        lock.release()
    holder = lock.path.read_text().strip()
    assert ending.err == (
        f"tunemill: {FILE}: in use by another tunemill (process {holder}); wait for it, or stop it with Ctrl-C or "
        "SIGTERM\n"
    )
    assert ending.code == 75


def test_a_folder_in_use_can_be_looked_at(spoilt: Path, shell: Shell) -> None:
    """Reading takes no lock."""
    lock = Lock(spoilt / "lock")
    try:
        assert shell.run("status", "films").code == 0
        assert shell.run("show", "films").code == 0
    finally:
        lock.release()


def test_the_server_for_local_needs_what_it_needs(shell: Shell, tmp_path: Path) -> None:
    """A backend whose library cannot be loaded is one message, and no run folder."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "xllamacpp.py").write_text("raise ImportError('hidden')\n")
    shell.write("films.toml", RECIPE)
    ending = installed("run", "films.toml", "--local", cwd=shell.cwd, env=shell.env(PYTHONPATH=str(hidden)))
    assert ending.code == 2
    assert ending.talk == [
        "tunemill: the embedded server cannot start: the llama backend needs xllamacpp (hidden); install it with: "
        "pip install 'tunemill[local]' (and libgomp1 with the system's package manager)"
    ]
    assert not (shell.cwd / "runs").exists()


def test_exporting_needs_the_packages_for_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are an extra: without them the message says how to get them, and nothing is begun."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    shell.write("films.toml", RECIPE)
    ending = shell.run("run", "films.toml", "--otlp")
    assert ending.code == 2
    assert ending.talk == [
        "tunemill: --otlp: the packages for OpenTelemetry are not installed; install tunemill with its extra: "
        "pip install 'tunemill[otlp]'"
    ]
    assert not (shell.cwd / "runs").exists()


def test_a_key_is_never_shown(shell: Shell) -> None:
    """Not in a message, not in the run folder, also where the server echoes it."""
    shell.write("films.toml", RECIPE)
    secret = "sk-live-abcdefghijklmnopqrstuvwxyz"
    ending = shell.run("run", "films.toml", "--limit", "2", OPENAI_API_KEY=secret)
    assert ending.code == 0
    assert secret not in ending.err + ending.out
    for path in (shell.cwd / "runs").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_a_folder_whose_name_is_no_text(shell: Shell) -> None:
    """The run folder's copy of the recipe could not name it."""
    folder = Path(os.fsdecode(os.fsencode(shell.cwd) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "rows.csv").write_text("a\nx\n")
    (folder / "films.toml").write_text(_with_source('kind = "table"\npath = "rows.csv"', "Plot {{ a }}."))
    ending = forked("run", "films.toml", cwd=folder, env=shell.env())
    assert ending.code == 2
    assert ending.err.endswith("films.toml: the name of the folder that it is in is not UTF-8; rename the folder\n")
    assert not (folder / "runs").exists()


def test_chat_with_a_server_that_is_not_there(spoilt: Path, shell: Shell) -> None:
    """Who was asked, what came of it, and what to look at."""
    assert spoilt.is_dir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    env = shell.env(OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1")
    ending = forked("chat", "films", "--model", "gpt-4o-mini", cwd=shell.cwd, env=env, stdin="hello")
    assert ending.code == 5
    assert ending.talk[-1].startswith(f"tunemill: gpt-4o-mini at http://127.0.0.1:{port}/v1: ")
    assert ending.talk[-1].endswith("the key and the model are right (--model names another), and ask again")
