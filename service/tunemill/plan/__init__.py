"""From a recipe and its rows to requests, and to what they will take: how many, how many tokens, dollars, minutes."""

from tunemill.plan.chain import Chain
from tunemill.plan.requests import Planner, StepRenderer, Unsendable

__all__ = ["Chain", "Planner", "StepRenderer", "Unsendable"]
