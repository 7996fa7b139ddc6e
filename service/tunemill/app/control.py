"""The words of the control socket: a JSON object asks a run under way for something, a JSON object is the answer.

{"do": "status"}                                            the shape of `status --json`
{"do": "tune", "requests_per_minute": 300, "model": null}   and tokens_per_minute, concurrency, budget_usd
{"do": "pause"}  {"do": "resume"}  {"do": "reload"}
    -> {"run": "...", "changes": [{"what", "model", "before", "after"}], "notes": ["..."]}
    -> {"refused": "one message"}
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any

from tunemill.app.folder import RunFolder
from tunemill.app.steering import Steered, Steering, Tuning
from tunemill.errors import ArgumentError, RunFolderError, UserError
from tunemill.events import Event, RecipeReloaded
from tunemill.model import Json, JsonObject
from tunemill.statistics import RunStatistics, statistics_from
from tunemill.telemetry.control_socket import ask

STATUS_TIMEOUT_S = 3.0
STEER_TIMEOUT_S = 60.0
_FLAGS = {
    "requests_per_minute": "--rpm",
    "tokens_per_minute": "--tpm",
    "concurrency": "--concurrency",
    "budget_usd": "--budget",
}
_MOST = {"requests_per_minute": 1e9, "tokens_per_minute": 1e12, "concurrency": 100_000, "budget_usd": 1e9}


class Control:
    """Answers on behalf of a run under way."""

    def __init__(
        self, steering: Steering, statistics: Callable[[], RunStatistics], emit: Callable[[Event], None]
    ) -> None:
        self._steering = steering
        self._statistics = statistics
        self._emit = emit

    async def answer(self, request: dict[str, Any]) -> JsonObject:
        """What is asked for, or why it cannot be had."""
        try:
            match request.get("do"):
                case "status":
                    return self._statistics().to_json()
                case "tune":
                    return self._told(self._steering.tune(_tuning(request)))
                case "pause":
                    return self._told(await self._steering.pause())
                case "resume":
                    return self._told(self._steering.resume())
                case "reload":
                    return self._told(await self.reload())
                case other:
                    return {"refused": f"do = {other!r} is not known"}
        except UserError as error:
            return {"refused": str(error)}

    async def reload(self) -> Steered:
        """Read the recipe again, and tell everybody what came of it. Raises UserError."""
        try:
            steered = await self._steering.reload()
        except UserError as error:
            self._emit(RecipeReloaded(is_accepted=False, message=f"{error}; the run goes on as before"))
            raise
        self._emit(RecipeReloaded(is_accepted=True, message="; ".join(steered.notes)))
        return steered

    def _told(self, steered: Steered) -> JsonObject:
        changes: list[Json] = [asdict(change) for change in steered.changes]
        return {"run": self._statistics().run, "changes": changes, "notes": list(steered.notes)}


class NoAnswer(Enum):
    """Why there are no figures from a process that works on the run."""

    NOBODY = "none"  # works on it
    BUSY = "busy"  # it takes no questions: it begins, it ends, it is another command or another user's
    SILENT = "silent"  # it listens and did not answer: it hangs, or was stopped


def live_status(folder: RunFolder, *, timeout_s: float = STATUS_TIMEOUT_S) -> RunStatistics | NoAnswer:
    """The figures of whoever works on the run."""
    if not folder.is_in_use:
        return NoAnswer.NOBODY
    try:
        shape = ask(folder.control, {"do": "status"}, timeout_s=timeout_s)
        return NoAnswer.BUSY if shape is None else statistics_from(shape)
    except TimeoutError:
        return NoAnswer.SILENT
    except (PermissionError, KeyError, TypeError, ValueError):  # another user's, or another version's
        return NoAnswer.BUSY


def steer(folder: RunFolder, request: Mapping[str, Json]) -> dict[str, Any]:
    """Ask whoever works on the run for something. Raises RunFolderError where nobody does, else Refused."""
    try:
        reply = ask(folder.control, request, timeout_s=STEER_TIMEOUT_S) if folder.is_in_use else None
    except PermissionError as error:
        mend = "only they can steer it"
        raise RunFolderError("the run was started by another user", mend=mend, file=folder.control) from error
    except TimeoutError:
        reply = None
    if reply is None:
        raise _nobody(folder)
    if (message := reply.get("refused")) is not None:
        raise Refused(message)
    return reply


class Refused(UserError):
    """The run under way said no; the message is its own."""

    def __init__(self, message: str) -> None:
        super().__init__(message, mend="")
        self.args = (message,)


def _nobody(folder: RunFolder) -> RunFolderError:
    if folder.is_in_use:
        problem, mend = "the process that works on the run does not answer", "look at it, and try again"
    else:
        problem, mend = (
            "nothing is running there",
            "start it with `tunemill run RECIPE`; what the recipe says then counts",
        )
    return RunFolderError(problem, mend=mend, file=folder.path)


def _tuning(request: Mapping[str, Any]) -> Tuning:
    """Raises ArgumentError."""
    values = {name: _number(name, request[name]) for name in _FLAGS if request.get(name) is not None}
    if not values:
        raise ArgumentError("nothing is to be changed", mend=f"say what: {', '.join(_FLAGS.values())}")
    model = request.get("model")
    if model is not None and not isinstance(model, str):
        raise ArgumentError("is not a name", mend="name a model of the recipe", key="--model", value=model)
    if model is not None and set(values) <= {"budget_usd"}:
        raise ArgumentError("the budget is the whole run's", mend="leave --model out", key="--model", value=model)
    return Tuning(**values, model=model)


def _number(name: str, value: object) -> Any:
    """An int where it is of a whole number, a float otherwise. Raises ArgumentError."""
    whole = name == "concurrency"
    if not isinstance(value, int | float) or isinstance(value, bool) or (whole and not isinstance(value, int)):
        raise _unusable(name, value)
    if not math.isfinite(value) or not 0 < value <= _MOST[name]:
        raise _unusable(name, value)
    return value


def _unusable(name: str, value: object) -> ArgumentError:
    kind = "a whole number from 1" if name == "concurrency" else "a number above zero"
    return ArgumentError(
        "cannot be used", mend=f"give {kind}, at most {_MOST[name]:,.0f}", key=_FLAGS[name], value=value
    )
