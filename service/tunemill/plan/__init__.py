"""From a recipe and its rows to requests, and to what they will take: how many, how many tokens, dollars, minutes."""

from tunemill.plan.chain import Chain
from tunemill.plan.make import PlanOptions, SoFar, make_plan
from tunemill.plan.prices import base_urls_of, overrides_of, price_in, prices_of_steps
from tunemill.plan.requests import RENDERING, Planner, StepRenderer, Unsendable
from tunemill.plan.values import LanePlan, Plan, ShownPrompt, StepPlan

__all__ = [
    "RENDERING",
    "Chain",
    "LanePlan",
    "Plan",
    "PlanOptions",
    "Planner",
    "ShownPrompt",
    "SoFar",
    "StepPlan",
    "StepRenderer",
    "Unsendable",
    "base_urls_of",
    "make_plan",
    "overrides_of",
    "price_in",
    "prices_of_steps",
]
