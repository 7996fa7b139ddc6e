"""`build` and `check`."""

from pathlib import Path

from tunemill.app.folder import existing
from tunemill.app.recorded import rebuild
from tunemill.cli.ending import DONE, MISTAKE
from tunemill.cli.output import print_json, print_line, print_pairs
from tunemill.dataset import BuildResult, CheckReport, check_file
from tunemill.model import usd
from tunemill.pricing import Price, price_of
from tunemill.recipe import DEFAULT_BASE_URL
from tunemill.telemetry import dollars, mask_secrets, one_line

_FAULT_CHARS_MAX = 2000


def build_command(name: str, *, as_json: bool) -> None:
    """Build and say what came of it."""
    folder = existing(name)
    built = rebuild(folder)
    if as_json:
        print_json(built.to_json())
        return
    figures = built.figures
    print_pairs(
        [
            ("answers", f"{figures.candidates:,}: {figures.kept:,} kept, {figures.rejected:,} rejected"),
            *_rules(built),
            ("training", f"{figures.train:,} examples in {folder.train}"),
            ("validation", f"{figures.validation:,} examples in {folder.validation}"),
            ("report", str(folder.report)),
        ]
    )


def _rules(built: BuildResult) -> list[tuple[str, str]]:
    by_count = sorted(built.figures.rejected_by_rule.items(), key=lambda item: -item[1])
    return [("rejected", f"{count:,} by {rule}") for rule, count in by_count]


def check_command(file: Path, model: str | None, *, epochs: int, as_json: bool) -> int:
    """Check and print what was found; the exit code, 2 where a target would refuse the file."""
    report = check_file(file, model)
    price = None if model is None else price_of(model, DEFAULT_BASE_URL, {})
    cost = None if price is None else price.training_cost(report.tokens, epochs)
    if as_json:
        print_json({**report.to_json(), "epochs": epochs, "usd_training": None if cost is None else usd(cost)})
    else:
        _print_report(report, price, cost, epochs)
    return DONE if report.is_valid else MISTAKE


def _print_report(report: CheckReport, price: Price | None, cost: int | None, epochs: int) -> None:
    for fault in report.faults:
        where = f"{report.path}:" if fault.line is None else f"{report.path}:{fault.line}:"
        field = f" {fault.field}:" if fault.field else ""
        text = f"{where} {fault.severity.value}:{field} {fault.problem}; {fault.mend}"
        print_line(mask_secrets(one_line(text, chars_max=_FAULT_CHARS_MAX)))
    hidden = sum(report.counts.values()) - len(report.faults)
    if hidden:
        print_line(f"... and {hidden:,} more")
    kind = report.format.value if report.format else "unknown"
    print_pairs(
        [
            ("file", f"{report.path}: {'valid' if report.is_valid else 'NOT VALID'}"),
            ("examples", f"{report.examples:,}, format {kind}, about {report.tokens:,} tokens"),
            ("faults", f"{_counted(report.errors, 'error')}, {_counted(report.warnings, 'warning')}"),
            *([] if report.model is None else [("training", _training(report.model, price, cost, epochs))]),
        ]
    )


def _training(model: str, price: Price | None, cost: int | None, epochs: int) -> str:
    if price is None or cost is None:
        return f"{model}: its training price is not known"
    return f"{model}: {dollars(cost)} for {_counted(epochs, 'epoch')} ({price.source})"


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
