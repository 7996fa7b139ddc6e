"""Every error that tunemill raises on purpose, and the exit code that each one means.

    TunemillError
    ├── UserError                 2    a mistake a person can mend: file, key, value, mend
    │   ├── RecipeError                in the recipe
    │   ├── SourceError                in a source file
    │   ├── ArgumentError              on the command line or in the environment
    │   └── RunFolderError             in the run folder (damaged journal, not a run folder)
    ├── ProviderRefused           5    bad key, exhausted quota, model gone: nothing more will work
    ├── ProviderUnreachable       5    the provider did not answer, for longer than we are willing to wait
    ├── FineTuningFailed          6    the target ended the fine-tuning job without a model
    ├── ExecutorsFailed           1    the processes that send cannot be kept running
    ├── RunFolderUnwritable      74    disk full, read-only, or gone
    └── RunFolderBusy            75    another process writes to it

What happens to one request is never an exception: it is a value of `tunemill.model`.
"""

from pathlib import Path
from typing import Self

_UNSET = object()


class TunemillError(Exception):
    """Base of all. `exit_code` is what the process ends with when nothing handles it."""

    exit_code = 1


class UserError(TunemillError):
    """A mistake that a person can mend.

    The message reads `file:line: key = value: problem; mend`, leaving out what is not known. `value` is shown with
    `repr`; never pass a secret.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        mend: str,
        file: Path | str | None = None,
        line: int | None = None,
        key: str | None = None,
        value: object = _UNSET,
    ) -> None:
        self.problem = problem
        self.mend = mend
        self.file = None if file is None else str(file)
        self.line = line
        self.key = key
        self.value = value
        where = "" if self.file is None else self.file + (f":{line}" if line is not None else "") + ": "
        what = "" if key is None else key + ("" if value is _UNSET else f" = {_short(value)}") + ": "
        super().__init__(f"{where}{what}{problem}; {mend}")

    def in_file(self, file: Path) -> Self:
        """The same mistake where the file that it stands in is known only to the caller."""
        return type(self)(self.problem, mend=self.mend, file=file, line=self.line, key=self.key, value=self.value)


class RecipeError(UserError):
    """The recipe cannot be used as it is."""


class SourceError(UserError):
    """A source file is missing, unreadable or malformed."""


class ArgumentError(UserError):
    """A command-line argument or an environment variable is wrong."""


class RunFolderError(UserError):
    """The run folder is not one, belongs to another recipe, or its journal is damaged."""


class ProviderRefused(TunemillError):
    """The provider will not go on: bad key, exhausted quota, unknown model."""

    exit_code = 5


class ProviderUnreachable(TunemillError):
    """The provider gave no usable answer for as long as we were willing to try."""

    exit_code = 5


class FineTuningFailed(TunemillError):
    """The target ended the fine-tuning job without a model."""

    exit_code = 6


class ExecutorsFailed(TunemillError):
    """The processes that send requests cannot be started, or not be kept running."""


class RunFolderUnwritable(TunemillError):
    """The run folder can no longer be written: disk full, read-only file system, folder gone."""

    exit_code = 74


class RunFolderBusy(TunemillError):
    """Another process holds the run folder's lock."""

    exit_code = 75


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
