"""`check`: a streaming validator for any fine-tune file, also one made elsewhere."""

from tunemill.dataset.check.faults import Fault, FaultKind, Severity
from tunemill.dataset.check.file import check_file
from tunemill.dataset.check.kinds import TrainFormat
from tunemill.dataset.check.pair import PairReport, check_pair
from tunemill.dataset.check.report import CheckReport, training_price

__all__ = [
    "CheckReport", "Fault", "FaultKind", "PairReport", "Severity", "TrainFormat", "check_file", "check_pair",
    "training_price",
]  # fmt: skip
