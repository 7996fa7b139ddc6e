"""What a provider counts as tokens when it admits a request, learned from what it announces.

Nobody says how it is counted: the output's bound plus a quarter of the prompt's characters, the larger of the two, the
prompt alone, what was really used afterwards, in a tokenizer's tokens of a language. So the count is taken to be a
weighted sum of a few terms that between them cover all of these, and the weights are learned:

    - A reply says how much of the minute's allowance remains. Between two of them, what was counted is what became less
      and what was refilled meanwhile, as long as the bucket was not full.
    - Where it was full, a reply says that its request was counted as no more than what is missing now.

The filter is a Kalman filter for slowly drifting weights (recursive least squares with a bounded memory). It starts at
the commonest rule and stays there where nothing is announced; nonsense is kept out by plausibility.
"""

from collections import deque
from dataclasses import dataclass

from tunemill.engine.size import CHARACTERS_PER_TOKEN, Size, Terms

PRIOR: Terms = (0.0, 1.0, 1.0, 0.0)
VARIANCE_FIRST = 0.25
VARIANCE_MOST = 0.25
DRIFT = 2e-5  # of a weight's variance with each observation: a provider may change its mind
NOISE = 0.03**2  # of what a stretch says, as a share: requests do not arrive exactly when they leave
STRETCH_S = 2.0
STRETCH_REQUESTS = 20
NUDGE = 0.97  # a bucket that stays full while it should be half empty: less is counted than is expected
SMALL_S = 0.25  # seconds' worth
NUDGE_LEAST = 0.5  # of the prior
NUDGE_QUIET_S = 60.0  # not where something was refused so shortly before
FULL_S = 0.05  # a bucket that lacks less than this many seconds' worth may have been full
BUSY_SHARE = 0.9
PLAUSIBLE_MOST = 2.5  # of the expected
CHARACTERS_PER_TOKEN_MOST = 12
SHARE_LEAST = 0.04  # of the prior, whatever was observed
SHARE_MOST = 1.5
TRUST_LEAST = 0.8
TRUST_GAIN = 0.05
REFUSALS_KEPT = 256


class Trust:
    """Whether somebody says what can be true, nearly always."""

    __slots__ = ("_share",)

    def __init__(self) -> None:
        self._share = 1.0

    @property
    def holds(self) -> bool:
        """Whether it is worth listening."""
        return self._share >= TRUST_LEAST

    def heard(self, is_plausible: bool) -> None:
        """Something more was said."""
        self._share += ((1.0 if is_plausible else 0.0) - self._share) * TRUST_GAIN


@dataclass(slots=True)
class Mark:
    """One request in the order of leaving: when it left, what it is, and the sums up to and with it."""

    at: float  # brought up to date when it really leaves
    number: int
    terms: Terms
    sums: Terms


class Calibration:
    """See the module. Times are seconds of one clock; `per_s` is the token limit a second."""

    __slots__ = (
        "_anchor",
        "_covariance",
        "_input_share",
        "_is_full",
        "_nudged_at",
        "_number",
        "_refused",
        "_refused_at",
        "_sums",
        "_trust",
        "_weights",
    )

    def __init__(self) -> None:
        self._weights = list(PRIOR)
        self._covariance = [[VARIANCE_FIRST * (row == column) for column in range(4)] for row in range(4)]
        self._input_share = 1.0  # tokens of a prompt as reported, compared with a quarter of its characters
        self._number = 0
        self._sums: Terms = (0.0, 0.0, 0.0, 0.0)
        self._refused: deque[Mark] = deque(maxlen=REFUSALS_KEPT)
        self._anchor: tuple[Mark, float] | None = None  # where the stretch began, and what was missing there
        self._trust = Trust()
        self._nudged_at = float("-inf")
        self._refused_at = float("-inf")
        self._is_full = False  # whether the bucket may have been full since

    def expected(self, size: Size) -> float:
        """About what the provider will count."""
        return self._bounded(size.terms)

    def took(self, size: Size, now: float) -> Mark:
        """A request of this size leaves."""
        terms = size.terms
        sums = self._sums
        self._sums = (sums[0] + terms[0], sums[1] + terms[1], sums[2] + terms[2], sums[3] + terms[3])
        self._number += 1
        return Mark(now, self._number, terms, self._sums)

    def refused(self, mark: Mark) -> None:
        """It was not counted."""
        self._refused.append(mark)
        self._refused_at = mark.at

    def used(self, size: Size, input_tokens: int) -> None:
        """A prompt of so many characters was really so many tokens: a bound for what may be counted."""
        if size.characters:
            share = input_tokens * CHARACTERS_PER_TOKEN / size.characters
            self._input_share += (min(share, 8.0) - self._input_share) * 0.05

    def announced(self, mark: Mark, *, missing: float, per_s: float) -> None:
        """After this request so much of a full bucket was missing, says its reply."""
        expected = self._bounded(mark.terms)
        is_plausible = self._least(mark.terms) <= missing <= per_s + 2 * expected
        self._trust.heard(is_plausible)
        if not is_plausible or not self._trust.holds:
            self._anchor = None  # not a bucket that refills evenly, or somebody else is using it up
            return
        if missing < expected:
            self._observe(mark.terms, missing, NOISE)
        self._is_full = self._is_full or missing - expected < per_s * FULL_S
        if self._anchor is None:
            self._begin(mark, missing, per_s)
            return
        anchor, _ = self._anchor
        if mark.number - anchor.number >= STRETCH_REQUESTS and mark.at - anchor.at >= STRETCH_S:
            self._compare(mark, missing, per_s)
            self._begin(mark, missing, per_s)

    def _compare(self, mark: Mark, missing: float, per_s: float) -> None:
        """A stretch is over: what was counted in it, as far as that can be told."""
        assert self._anchor is not None
        anchor, missing_then = self._anchor
        counted = missing - missing_then + (mark.at - anchor.at) * per_s
        terms = self._between(anchor, mark)
        expected = self._weighted(terms)
        if not self._is_full or expected > counted:
            self._observe(terms, counted, NOISE)
        elif missing < self._bounded(mark.terms) + per_s * FULL_S and expected > BUSY_SHARE * counted:
            self._nudge(anchor, terms, mark, per_s)

    def _nudge(self, anchor: Mark, terms: Terms, mark: Mark, per_s: float) -> None:
        """Nothing is missing although as much left as is thought to be allowed: perhaps some is given back later."""
        is_known_by_then = anchor.at > self._nudged_at and mark.at > self._refused_at + NUDGE_QUIET_S
        expected = self._weighted(terms)
        if expected > per_s * SMALL_S * (mark.number - anchor.number):
            return  # large requests need a full bucket
        if is_known_by_then and expected > NUDGE_LEAST * (terms[1] + terms[2]):
            self._observe(terms, expected * NUDGE, NOISE / 10)
            self._nudged_at = mark.at

    def _begin(self, mark: Mark, missing: float, per_s: float) -> None:
        self._anchor = (mark, missing)
        self._is_full = missing < per_s * FULL_S

    def _between(self, first: Mark, last: Mark) -> Terms:
        lost = [mark.terms for mark in self._refused if first.number < mark.number <= last.number]
        sums = [last.sums[term] - first.sums[term] - sum(terms[term] for terms in lost) for term in range(4)]
        return sums[0], sums[1], sums[2], sums[3]

    def _weighted(self, terms: Terms) -> float:
        weights = self._weights
        return weights[0] * terms[0] + weights[1] * terms[1] + weights[2] * terms[2] + weights[3] * terms[3]

    def _bounded(self, terms: Terms) -> float:
        prior = terms[1] + terms[2]
        most = SHARE_MOST * (max(1.0, self._input_share) * terms[1] + terms[2])
        return max(1.0, SHARE_LEAST * prior, min(self._weighted(terms), most))

    def _least(self, terms: Terms) -> float:
        return max(1.0, terms[1] * CHARACTERS_PER_TOKEN / CHARACTERS_PER_TOKEN_MOST)

    def _observe(self, terms: Terms, counted: float, noise: float) -> None:
        """These terms were counted as so much. Shares of the expected are compared, so that all sizes weigh alike."""
        expected = self._weighted(terms)
        scale = max(expected, 0.2 * (terms[1] + terms[2]), 1.0)
        if counted <= 0 or counted > PLAUSIBLE_MOST * scale:
            return
        x = [term / scale for term in terms]
        covariance = self._covariance
        px = [sum(covariance[row][column] * x[column] for column in range(4)) for row in range(4)]
        spread = sum(x[row] * px[row] for row in range(4)) + noise
        error = (counted - expected) / scale
        for row in range(4):
            self._weights[row] += px[row] / spread * error
        for row in range(4):
            for column in range(4):
                covariance[row][column] -= px[row] * px[column] / spread
            covariance[row][row] = min(covariance[row][row] + DRIFT, VARIANCE_MOST)
