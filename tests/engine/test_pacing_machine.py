"""The pacing of one limit as a state machine: first come first served, never above the rate in any window, nobody
starved, and nothing wasted while somebody waits. Time passes as it likes, and requests leave as late as they like."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tunemill.engine.pacing import MARGIN_S, USED_SHARE, Allowance

RATES = st.sampled_from([30.0, 600.0, 6_000.0, 90_000.0])  # a minute
TOLERANCE = 1e-6


class PacedMachine(RuleBasedStateMachine):
    """Requests of some amount queue up; whoever is first leaves when the limit lets it.

    The bound, over every stretch from one departure to another: what leaves before the last of them is at most the rate
    times the time, and what may have gathered before (`BURST_S` seconds' worth, and at least one request).
    """

    BURST_S = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.rate_per_s = 1.0
        self.queue: list[float] = []
        self.left: list[tuple[float, float]] = []

    # -- rules ---------------------------------------------------------------------------------------------------

    @initialize(per_minute=RATES)
    def limited(self, per_minute: float) -> None:
        self.rate_per_s = per_minute / 60
        self.limit = Allowance(per_minute, self.now)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.1, 1.0, 7.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(share=st.sampled_from([0.0, 0.001, 0.1, 0.9, 1.0, 1.1, 5.0, 59.0]), times=st.integers(1, 5))
    def queue_up(self, share: float, times: int) -> None:
        """Of so many seconds' worth."""
        self.queue += [share * self.rate_per_s] * times

    @precondition(lambda self: self.queue)
    @rule(late=st.sampled_from([0.0, 0.0, 0.0, 0.002, 0.3, 2.0]))
    def first_leaves(self, late: float) -> None:
        """After exactly the time that it is told to wait, it may leave; it is told a time that ends."""
        wait_s = self.limit.delay(self.now, self.queue[0])
        assert 0.0 <= wait_s <= self.longest_wait_s(), (wait_s, self.longest_wait_s())
        self.now += wait_s
        assert self.limit.delay(self.now, self.queue[0]) <= TOLERANCE, "told to wait again, and again"
        self.now += late
        amount = self.queue.pop(0)
        self.limit.take(self.now, amount)
        self.limit.left(self.now, amount, taken_at=self.now)
        self.left.append((self.now, amount))

    def longest_wait_s(self) -> float:
        """What left last is paid off, and then there is room for the next: nobody waits for those behind."""
        last = self.left[-1][1] if self.left else 0.0
        return (last + self._burst()) / self.rate_per_s / USED_SHARE + MARGIN_S + TOLERANCE

    @invariant()
    def never_above_the_rate(self) -> None:
        """In no window, however it is cut."""
        if not self.left:
            return
        end = self.left[-1][0]
        amount = 0.0
        for begin, before in reversed(self.left[:-1]):
            amount += before
            allowed = self.rate_per_s * (end - begin) + self._burst()
            assert amount <= allowed * (1 + 1e-9) + TOLERANCE, (begin, end, amount, allowed)

    def _burst(self) -> float:
        return max(1.0, self.BURST_S * self.rate_per_s)


class TokenMachine(PacedMachine):
    """Tokens a minute: amounts of all sizes."""


class RequestMachine(PacedMachine):
    """Requests a minute: each is one."""

    @rule(times=st.integers(1, 30))
    def queue_up(self, times: int) -> None:
        self.queue += [1.0] * times


TestTokenMachine = TokenMachine.TestCase
TestTokenMachine.settings = settings(max_examples=50, stateful_step_count=30)
TestRequestMachine = RequestMachine.TestCase
TestRequestMachine.settings = settings(max_examples=50, stateful_step_count=30)
