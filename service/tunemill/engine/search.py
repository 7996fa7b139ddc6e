"""Finding a rate that nobody announced, or that is not what was announced, from what is admitted and what is refused.

A refusal says that the provider's bucket is empty. So between two refusals exactly what it admitted is what it allows,
as long as it was never full in between; and over any stretch that ends in one, at least what it admitted less one
bucket. The larger of the two is the estimate. From there the rate grows by a cubic curve, at first hardly at all and
then fast: what stays as it is is probed gently, what has doubled is found within seconds (the shape is CUBIC's, RFC
9438; measuring delivery instead of guessing it is BBR's idea).

    STARTING  grows with what leaves, doubling within a third of a second, until something is refused
    FOUND     estimate x growth since then
    OPEN      nothing is known to bind: no rate of ours
"""

from collections import deque

START_PER_S = 20.0  # requests
START_LEAST_PER_S = 1.0
START_GROWTH_PER_S = 2.3  # doubles within 0.3 s, as long as requests really leave
START_OPEN_PER_S = 50_000.0
BEGIN_SHARE = 0.98  # of the estimate, after a refusal
GROWTH_PER_S3 = 0.001
GROWTH_OPEN = 40.0  # so many times what was found: there is no such limit any more
CUT_MOST = 0.6  # one episode takes the rate to no less than so much of itself
LEAST_REQUESTS_PER_S = 0.5  # below that it is left to whoever asks to wait: some refuse at random
CYCLE_REQUESTS = 110  # a rate is probed about so seldom: one or two are refused each time
CYCLE_S = 7.3  # from a refusal to the next, where nothing changes and nothing stretches it
WINDOW_S = 12.0
BIN_S = 0.25
CHANCE_S = 10.0
MEAN_GAIN = 0.05
BUCKET_S = 1.0  # what a provider's bucket is taken to hold


class RateSearch:
    """One kind of limit of one model. Amounts are requests or tokens as they are counted; times are of one clock."""

    __slots__ = (
        "_admitted",
        "_bins",
        "_cut_admitted",
        "_cut_at",
        "_estimate",
        "_mean",
        "_modelled",
        "_modelled_at",
        "_refused",
        "_since",
        "_start_from",
        "_start_per_s",
        "_starting",
    )

    def __init__(self, now: float, *, starting: bool) -> None:
        self._starting = starting
        self._start_per_s = START_PER_S
        self._start_from = 0.0
        self._since = now  # when the start, or the growth, began
        self._estimate: float | None = None  # per second
        self._mean = 1.0  # amount of a request
        self._admitted = 0.0  # all that left, less what was refused
        self._refused = 0.0
        self._bins: deque[tuple[float, float]] = deque([(now, 0.0)])  # time, and what was admitted up to then
        self._cut_at = float("-inf")
        self._cut_admitted = 0.0
        self._modelled = 0.0  # what the provider's bucket would hold if the estimate were right
        self._modelled_at = now

    @property
    def admitted(self) -> float:
        """All that left, less what was refused."""
        return self._admitted

    @property
    def is_found(self) -> bool:
        """Whether a refusal has taught something that still counts."""
        return self._estimate is not None

    @property
    def is_starting(self) -> bool:
        """Whether nothing was refused yet."""
        return self._starting

    @property
    def is_at_work(self) -> bool:
        """Whether it has a rate of its own, which changes with time."""
        return self._starting or self._estimate is not None

    def per_minute(self, now: float) -> float | None:
        """What may be used now; None where nothing is known to bind."""
        rate = self._per_s(now)
        return None if rate is None else rate * 60

    def _per_s(self, now: float) -> float | None:
        passed = max(0.0, now - self._since)
        if self._starting:
            rate = self._start_per_s + START_GROWTH_PER_S * max(0.0, self._admitted - self._start_from)
            if rate >= START_OPEN_PER_S:
                self._starting = False
            return rate
        if self._estimate is None:
            return None
        requests_per_s = self._estimate / self._mean
        stretch = max(1.0, CYCLE_REQUESTS / (CYCLE_S * requests_per_s))
        growth = BEGIN_SHARE + GROWTH_PER_S3 * (passed / stretch) ** 3
        if growth >= GROWTH_OPEN:
            self._estimate = None
            return None
        return self._estimate * growth

    def took(self, now: float, amount: float) -> float:
        """So much left; gives the total of all that left, which `refused` is told of."""
        self._admitted += amount
        self._modelled = self.expected_s(now) * (self._estimate or 0.0) - amount
        self._modelled_at = now
        self._mean += (amount - self._mean) * MEAN_GAIN
        if now - self._bins[-1][0] >= BIN_S:
            self._bins.append((now, self._admitted))
            while now - self._bins[0][0] > WINDOW_S:
                self._bins.popleft()
        return self._admitted + self._refused

    def expected_s(self, now: float) -> float:
        """How many seconds' worth the provider's bucket holds, if what was found is right."""
        if self._estimate is None:
            return 0.0
        return min(BUCKET_S, self._modelled / self._estimate + now - self._modelled_at)

    def begin(self, now: float) -> None:
        """It is this limit that binds, as others have found out: what was admitted lately is what it allows."""
        measured = self._measured(now, self._admitted)
        if measured is not None:
            self._starting, self._since, self._estimate = False, now, measured

    def start_slower(self, now: float) -> None:
        """Something was refused before anything could be measured."""
        self._start_per_s = max(START_LEAST_PER_S, self._start_per_s / 4)
        self._start_from = self._admitted
        self._since = now

    def open(self) -> None:
        """Nothing is to be searched for any more, for now."""
        self._starting, self._estimate = False, None

    def refused(self, *, sent_at: float, total: float, amount: float, in_force: float | None, now: float) -> bool:
        """What left at `sent_at` and brought the total to `total` was refused. True where this is a new episode.

        `in_force` is the known limit a second where that is what is used: once in a while a refusal is chance, and only
        the next one within seconds says that the limit is not what is known.
        """
        self.took_back(amount, since=sent_at)
        if sent_at <= self._cut_at:  # it left before the last cut
            return False
        measured = self._measured(sent_at, total - self._refused)
        is_chance = in_force is not None and now - self._cut_at > CHANCE_S
        self._cut_at, self._cut_admitted = now, self._admitted
        if measured is None or is_chance:
            return True
        used = in_force if in_force is not None else None if self._starting else self._per_s(now)
        if used is not None:
            measured = max(min(measured, used), used * CUT_MOST)
        self._starting, self._since = False, now
        self._estimate = max(measured, LEAST_REQUESTS_PER_S * self._mean)
        self._modelled, self._modelled_at = 0.0, now
        return True

    def took_back(self, amount: float, *, since: float) -> None:
        """What left then was not admitted."""
        self._admitted -= amount
        self._refused += amount
        self._cut_admitted -= amount if since <= self._cut_at else 0.0
        for index, (at, admitted) in enumerate(self._bins):
            if at >= since:
                self._bins[index] = (at, admitted - amount)

    def _measured(self, at: float, total: float) -> float | None:
        """What the provider allows a second, by what it admitted up to then."""
        rates = [(total - before) / (at - since + BUCKET_S) for since, before in self._bins if since < at]
        if self._cut_at > float("-inf") and at - self._cut_at > BUCKET_S / 4:
            rates.append((total - self._cut_admitted) / (at - self._cut_at))
        return max(rates) if rates and max(rates) > 0 else None
