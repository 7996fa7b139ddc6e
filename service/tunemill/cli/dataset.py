"""`build` and `check`."""

import sys
from pathlib import Path

from tunemill.app.folder import existing
from tunemill.app.stages import rebuild
from tunemill.cli.output import page, print_json, talk
from tunemill.dataset import CheckReport, check_file
from tunemill.model import usd
from tunemill.pricing import Price, price_of
from tunemill.recipe import DEFAULT_BASE_URL

INVALID = 2


def build_command(name: str, *, as_json: bool) -> None:
    """Build and say what came of it."""
    folder = existing(name)
    built = rebuild(folder)
    if as_json:
        print_json(built.to_json())
        return
    figures = built.figures
    talk(f"{figures.candidates:,} candidates: {figures.kept:,} kept, {figures.rejected:,} rejected")
    for rule, count in sorted(figures.rejected_by_rule.items(), key=lambda item: -item[1]):
        talk(f"  {count:>7,}  {rule}")
    talk(f"{figures.train:,} in {folder.train}, {figures.validation:,} for validation; report: {folder.report}")


def check_command(file: Path, model: str | None, *, epochs: int, as_json: bool) -> None:
    """Check, print what was found, and leave with 2 where a target would refuse the file."""
    report = check_file(file, model)
    price = None if model is None else price_of(model, DEFAULT_BASE_URL, {})
    cost = None if price is None else price.training_cost(report.tokens, epochs)
    if as_json:
        print_json({**report.to_json(), "epochs": epochs, "usd_training": None if cost is None else usd(cost)})
    else:
        _print_report(report, price, cost, epochs)
    sys.exit(0 if report.is_valid else INVALID)


def _print_report(report: CheckReport, price: Price | None, cost: int | None, epochs: int) -> None:
    console = page()
    for fault in report.faults:
        console.print(str(fault), soft_wrap=True)
    hidden = sum(report.counts.values()) - len(report.faults)
    if hidden:
        console.print(f"... and {hidden:,} more")
    kind = report.format.value if report.format else "unknown"
    verdict = "valid" if report.is_valid else "not valid"
    console.print(
        f"{report.path}: {verdict}: {report.examples:,} examples, format {kind}, about {report.tokens:,} tokens, "
        f"{report.errors:,} errors, {report.warnings:,} warnings",
        soft_wrap=True,
    )
    if report.model is not None:
        known = "its training price is not known" if cost is None else f"${usd(cost):.4f} for {epochs} epochs"
        source = f" ({price.source})" if price is not None and cost is not None else ""
        console.print(f"training {report.model}: {known}{source}", soft_wrap=True)
