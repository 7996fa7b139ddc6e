"""The engine: one dispatcher that owns budget, pacing and order, and lanes that send."""

from tunemill.engine.budget import Budget
from tunemill.engine.dispatcher import Dispatcher
from tunemill.engine.flight import in_flight_most
from tunemill.engine.owner import Tools
from tunemill.engine.pacing import LaneLimits
from tunemill.engine.retry import RetryLimits
from tunemill.engine.settled import Settled
from tunemill.engine.throttle import RequestThrottle
from tunemill.engine.work import (
    Counts,
    Ending,
    Executor,
    Place,
    Prices,
    Recorder,
    Renderer,
    Standing,
    Step,
    Unrenderable,
)

__all__ = [
    "Budget",
    "Counts",
    "Dispatcher",
    "Ending",
    "Executor",
    "LaneLimits",
    "Place",
    "Prices",
    "Recorder",
    "Renderer",
    "RequestThrottle",
    "RetryLimits",
    "Settled",
    "Standing",
    "Step",
    "Tools",
    "Unrenderable",
    "in_flight_most",
]
