"""Friday's run, in minutes: what can happen to a Job over a weekend, one after the other, and the books afterwards.

Pods are started with the arguments and the environment of deploy/kubernetes/base/job.yaml, on one volume; what the
Job does after each of them is read off the manifest's podFailurePolicy. Its times are shortened, all by the same
factor. The provider is the simulator, whose books are kept by nobody else.
"""

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.rehearse.accounts import accounts_of
from deploy.rehearse.kubernetes import JobSpec, Verdict, job_spec
from deploy.rehearse.runtimes import SIGNALLED, Container, Pod, Runtime, laid_out
from deploy.rehearse.stage import (
    RECIPE,
    RUN,
    environment_of,
    fetched,
    listening_at,
    recipe_in,
    require,
    say,
    until,
)
from tests.support.simulator import Simulator

ROWS = 1500
SHORTENED = 9.0  # the manifest's 45 and 90 seconds become 5 and 10
SHORT_NOTICE_S = 0.3  # what some clouds leave a node that is taken away
OUTAGE_S = 10.0
HANGING_S = 3.0  # longer than any answer takes
CONCURRENCY = 64
FRIDAY_USD, RAISED_USD, ENOUGH_USD = 0.145, 0.15, 5.0
_PROVIDER = ("--latency-s", "1.0", "--latency-sigma", "0.4", "--requests-per-minute", "3000", "--job-running-s", "0.5")
_RECIPE = f"""\
[limits]
requests_per_minute = 3000
concurrency = {CONCURRENCY}
timeout_s = 60
[budget]
usd = {FRIDAY_USD}
[pricing."gpt-4o-mini-2024-07-18"]
input_per_million = 0.15
output_per_million = 0.60
[fine_tune]
model = "gpt-4o-mini-2024-07-18"
n_epochs = 1
"""


def drill(runtime: Runtime) -> None:
    """All of it. Raises Unexpected."""
    folder = Path(tempfile.mkdtemp(prefix="tunemill-drill-"))
    try:
        with Simulator(*_PROVIDER) as provider:
            friday = Friday(runtime, laid_out(folder / "pod"), provider, job_spec())
            recipe_in(friday.folder, rows=ROWS, more=_RECIPE)
            for act in (
                _evicted, _evicted_in_an_outage, _killed_for_its_memory, _on_a_node_that_goes, _out_of_money, _finished
            ):  # fmt: skip
                act(friday)
            _settle(friday)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Friday:
    """The Job on its volume: pods one after another, what became of them, and how much may be in doubt."""

    def __init__(self, runtime: Runtime, folder: Path, provider: Simulator, job: JobSpec) -> None:
        self.folder = folder
        self.provider = provider
        self.job = job
        self.listen = listening_at()
        self.doubtful = 0
        self._runtime = runtime
        self._pods = 0
        self._counted = 0
        self._seen: dict[str, float] = {"completed": 0, "settled": 0.0}
        self._began = time.monotonic()

    @property
    def billed(self) -> int:
        """By the provider, so far."""
        return int(self.provider.books()["billed"])

    @property
    def spec_grace_s(self) -> float:
        """Between SIGTERM and SIGKILL."""
        return self.job.grace_s / SHORTENED

    @contextmanager
    def pod(self) -> Iterator[Container]:
        """The Job's next pod."""
        self._pods += 1
        environment = {**self.job.environment, **environment_of(self.provider), "TUNEMILL_LISTEN": self.listen}
        environment["TUNEMILL_GRACE"] = str(float(environment["TUNEMILL_GRACE"]) / SHORTENED)
        environment["TUNEMILL_LINGER"] = "0"  # nobody scrapes
        container = self._runtime.start(Pod(args=self.job.args, folder=self.folder, environment=environment))
        try:
            yield container
        finally:
            container.remove()

    def status(self) -> dict[str, Any] | None:
        """What the run says of itself over HTTP. Its counts and dollars never go back, whichever pod tells them."""
        text = fetched(self.listen, "/status")
        if text is None:
            return None
        status: dict[str, Any] = json.loads(text)
        now = {"completed": status["requests"]["completed"], "settled": status["usd"]["settled"]}
        require(all(now[name] >= self._seen[name] for name in now), f"figures went back from {self._seen} to {now}")
        self._seen = now
        return status

    def reaches(self, billed: int) -> None:
        """Wait for the provider's books, looking at the run's own figures meanwhile."""
        until(lambda: self.status() is not None and self.billed >= billed, f"{billed} answers are billed")

    def stop(self, container: Container, *, notice_s: float | None) -> int:
        """SIGTERM, and SIGKILL where it is not gone after so many seconds; None is SIGKILL at once. The exit code."""
        self.status()
        code = None
        if notice_s is not None:
            container.signal(signal.SIGTERM)
            code = container.wait(notice_s)
        if code is None:
            # What is in flight now was perhaps paid for, and will be asked for again.
            self.doubtful += int(self.provider.books()["in_flight"])
            container.signal(signal.SIGKILL)
            code = container.wait(30)
        require(code is not None, "it outlived SIGKILL")
        assert code is not None
        return code

    def ended(self, code: int, what: str, expected: Verdict, *, disrupted: bool = False, seconds: float = 0.0) -> None:
        """What the Job makes of it, which must be what was expected."""
        verdict = self.job.verdict(code, disrupted=disrupted)
        self._counted += verdict is Verdict.COUNTED
        took = f" after {seconds:.1f} s" if seconds else ""
        say(
            f"  +{time.monotonic() - self._began:5.1f} s  pod {self._pods} {what}: exit {code}{took}, {verdict.name}, "
            f"{self.billed} of {ROWS} billed"
        )
        require(verdict is expected, f"the Job would do {verdict.name} instead of {expected.name}")
        require(self._counted <= self.job.backoff_limit, "the Job's patience is over")

    def raise_budget(self, usd: float) -> None:
        """In the recipe, as `kubectl apply` does it to the ConfigMap."""
        recipe = self.folder / RECIPE
        lines = recipe.read_text(encoding="utf-8").splitlines()
        lines[lines.index("[budget]") + 1] = f"usd = {usd}"
        recipe.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _evicted(friday: Friday) -> None:
    """By SIGTERM, with time to drain."""
    with friday.pod() as container:
        friday.reaches(200)
        began = time.monotonic()
        code = friday.stop(container, notice_s=friday.spec_grace_s)
    books = friday.provider.books()
    require(books["billed"] == books["delivered"], "an answer was billed and not taken")
    seconds = time.monotonic() - began
    friday.ended(code, "evicted", Verdict.NOT_COUNTED, disrupted=True, seconds=seconds)
    require(code == SIGNALLED + signal.SIGTERM, "it did not drain")


def _evicted_in_an_outage(friday: Friday) -> None:
    """The provider takes requests and answers none; what is in flight then cannot be waited for."""
    with friday.pod() as container:
        friday.reaches(400)
        friday.provider.control(paused=True)
        until(_stands_still(friday), "nothing is answered any more")
        friday.doubtful += int(friday.provider.books()["in_flight"])
        began = time.monotonic()
        code = friday.stop(container, notice_s=friday.spec_grace_s)
    seconds = time.monotonic() - began
    friday.ended(code, "evicted in an outage", Verdict.NOT_COUNTED, disrupted=True, seconds=seconds)
    require(code == SIGNALLED + signal.SIGTERM, "it did not end by itself within the grace period")


def _stands_still(friday: Friday) -> Callable[[], bool]:
    """Whether requests are in flight, and for a while nothing was delivered. To be asked again and again."""
    delivered, since = -1, time.monotonic()

    def stands_still() -> bool:
        nonlocal delivered, since
        books = friday.provider.books()
        if books["delivered"] != delivered:
            delivered, since = books["delivered"], time.monotonic()
        return books["in_flight"] > 0 and time.monotonic() - since > HANGING_S

    return stands_still


def _killed_for_its_memory(friday: Friday) -> None:
    """It starts while the provider is still out, waits, goes on when it is back, and is then killed without a word."""
    with friday.pod() as container:
        friday.provider.control(paused=False, refusing=True)
        received = int(friday.provider.books()["received"])
        began = time.monotonic()
        until(
            lambda: "outage" in ((friday.status() or {}).get("waiting_for") or {}),
            "it says that it waits for an outage",
        )
        until(lambda: time.monotonic() - began > OUTAGE_S, "the outage lasts")
        books = friday.provider.books()
        asked = int(books["received"]) - received
        friday.provider.control(refusing=False)
        back = until(lambda: friday.provider.books()["delivered"] > books["delivered"], "answers come again")
        say(f"  the provider was out for {OUTAGE_S:g} s and asked {asked} times; an answer came {back:.1f} s later")
        friday.reaches(600)
        code = friday.stop(container, notice_s=None)
    friday.ended(code, "killed", Verdict.COUNTED)


def _on_a_node_that_goes(friday: Friday) -> None:
    """SIGTERM, and SIGKILL before the answers are there."""
    with friday.pod() as container:
        friday.reaches(800)
        code = friday.stop(container, notice_s=SHORT_NOTICE_S)
    friday.ended(code, "evicted at short notice", Verdict.NOT_COUNTED, disrupted=True)
    require(code == SIGNALLED + signal.SIGKILL, "it was gone before it could be killed: nothing was tried")


def _out_of_money(friday: Friday) -> None:
    """The budget is raised while it runs, and reached all the same: the Job ends, and does not begin anew."""
    with friday.pod() as container:
        friday.reaches(850)
        friday.raise_budget(RAISED_USD)
        reloaded = container.run_inside("tunemill", "reload", RUN)
        require(reloaded.returncode == 0, reloaded.stderr)
        status = friday.status() or {}
        require(status["usd"]["budget"] == RAISED_USD, f"the budget is {status['usd']}")
        say(f"  the budget is raised to ${RAISED_USD} while it runs; ${status['usd']['settled']:.4f} are settled")
        code = container.wait(120)
    require(code == 3, f"exit code {code} instead of 3: {container.log()[-2000:]}")
    friday.ended(3, "out of money", Verdict.FAIL_JOB)
    require(friday.provider.books()["distinct_bodies_billed"] < ROWS, "there was money for all rows: nothing was tried")
    received = friday.provider.books()["received"]
    with friday.pod() as container:
        code = container.wait(120)
    require(code == 3 and friday.provider.books()["received"] == received, "without more money, something was sent")
    friday.ended(3, "started by hand, out of money", Verdict.FAIL_JOB)


def _finished(friday: Friday) -> None:
    """With more money a new Job on the same volume comes to its end, the fine-tuning job included."""
    friday.raise_budget(ENOUGH_USD)
    with friday.pod() as container:
        code = container.wait(240)
        require(code == 0, f"exit code {code} instead of 0: {container.log()[-2000:]}")
        say(f"  its last line: {container.log().strip().splitlines()[-1][:400]}")
    friday.ended(0, "finished", Verdict.COMPLETE)
    received = friday.provider.books()["received"]
    with friday.pod() as container:
        code = container.wait(120)
    require(code == 0 and friday.provider.books()["received"] == received, "a finished run sent something")
    friday.ended(0, "started again", Verdict.COMPLETE)


def _settle(friday: Friday) -> None:
    """Both books."""
    books = friday.provider.books()
    require(books["jobs_created"] == 1, f"{books['jobs_created']} fine-tuning jobs")
    accounts = accounts_of(friday.folder / RUN, books, rows=ROWS)
    for line in accounts.lines():
        say(f"  {line}")
    say(f"  in flight when it was killed or cut off, so perhaps billed twice: {friday.doubtful}")
    faults = list(accounts.faults(budget_usd=ENOUGH_USD, doubtful=friday.doubtful))
    require(not faults, "; ".join(faults))
