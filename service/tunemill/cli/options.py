"""Arguments and flags that several commands share. Every flag also reads an environment variable."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

RecipeFile: TypeAlias = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.")]
RunName: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or the name of one under runs/.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Budget: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--budget", envvar="TUNEMILL_BUDGET", metavar="USD", help="Dollars; counts instead of the recipe's budget."
    ),
]
Listen: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="TUNEMILL_LISTEN", metavar="HOST:PORT", help="Serve /metrics, /status, /healthz and /readyz there."
    ),
]
LogFormatName: TypeAlias = Annotated[
    str, typer.Option("--log-format", envvar="TUNEMILL_LOG_FORMAT", help="auto, pretty or json.")
]
LogLevelName: TypeAlias = Annotated[
    str, typer.Option("--log-level", envvar="TUNEMILL_LOG_LEVEL", help="debug, info, warning or error.")
]
