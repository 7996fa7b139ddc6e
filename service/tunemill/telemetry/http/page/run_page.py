"""The run's page while the run goes on: hears events, takes a sample a second, and tells whoever looks.

What a second costs is the same whoever looks; each reader adds the sending of bytes that are there. The sample of each
second is also the stream's heartbeat: it is sent whether or not something changed.
"""

from collections.abc import Callable, Sequence

import tunemill
from tunemill.clock import Clock
from tunemill.events import Completed, Event, StateChanged
from tunemill.model import Json, JsonObject
from tunemill.statistics import RunStatistics
from tunemill.telemetry.http.page.answers import PER_SECOND, LatestAnswers
from tunemill.telemetry.http.page.feed import Feed
from tunemill.telemetry.http.page.history import History
from tunemill.telemetry.http.page.picture import AT_WORK, picture, sample
from tunemill.telemetry.recent import RecentEvents

PERIOD_S = 1.0


class RunPage:
    """Subscribed to events (`on_event`), with a `feed` that readers of the page listen to.

    `keep_fresh` is a coroutine for whoever serves the page, who also says when it is over (`end`).
    """

    def __init__(
        self, statistics: Callable[[], RunStatistics], *, prompt_of: Callable[[str], str], clock: Clock
    ) -> None:
        """`prompt_of` gives the prompt of a request id, "" where there is none."""
        self.feed = Feed(self.whole)
        self._statistics = statistics
        self._clock = clock
        self._recent = RecentEvents()
        self._answers = LatestAnswers(prompt_of)
        self._history = History()
        self._began_at = clock.wall()
        self._began_s = self._last_answer_s = clock.monotonic()
        self._ended_s: float | None = None
        self._is_over = False

    def on_event(self, event: Event) -> None:
        """Remember what will be shown of it."""
        self._recent.on_event(event)
        match event:
            case Completed():
                self._last_answer_s = self._clock.monotonic()
                self._answers.heard(event)
            case StateChanged():
                self._last_answer_s = self._clock.monotonic()  # a rest on purpose is no silence
                self._ended_s = None if event.state in AT_WORK else self._last_answer_s
            case _:
                pass

    async def keep_fresh(self) -> None:
        """A sample every second, until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(PERIOD_S)

    def look(self) -> None:
        """Take a sample, and tell everybody who listens."""
        statistics = self._statistics()
        now = sample(statistics, at=self._clock.wall())
        self._history.add(now)
        new = self._answers.take(at=now.at, simulated=statistics.simulated)
        self.feed.send({**self._now(statistics, new), "sample": now.to_json()})

    def end(self) -> None:
        """The last picture, and the end of every stream."""
        self._is_over = True
        self.look()
        self.feed.close()

    def whole(self) -> JsonObject:
        """The present and the past, for somebody who comes now."""
        history: list[Json] = [each.to_json() for each in self._history]
        return {**self._now(self._statistics(), self._answers.kept()), "history": history}

    def _now(self, statistics: RunStatistics, answers: Sequence[Json]) -> JsonObject:
        now_s = self._clock.monotonic()
        elapsed_s = (now_s if self._ended_s is None else self._ended_s) - self._began_s  # it may linger after its end
        shown = picture(statistics, self._recent, elapsed_s=elapsed_s, silent_s=now_s - self._last_answer_s)
        return {
            **shown,
            "at": round(self._clock.wall(), 1),
            "began_at": round(self._began_at, 1),
            "version": tunemill.__version__,
            "is_over": self._is_over,
            "answers": list(answers),
            "answers_arrived": self._answers.arrived,
            "answers_shown": self._answers.shown,
            "answers_per_second": PER_SECOND,
        }
