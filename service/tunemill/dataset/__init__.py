"""The dataset stage: cleaning, formats, the split, the files, their report, and `check` for any fine-tune file.

It receives values and callables; it knows no settings, no client and no engine.
"""

from tunemill.dataset.assemble import Names
from tunemill.dataset.build import (
    PAGE_FILE,
    REJECTS_FILE,
    REPORT_FILE,
    TRAIN_FILE,
    VALIDATION_FILE,
    BuildResult,
    Judging,
    build,
)
from tunemill.dataset.check import (
    CheckReport,
    Fault,
    FaultKind,
    PairReport,
    Severity,
    TrainFormat,
    check_file,
    check_pair,
    training_price,
)
from tunemill.dataset.clean import Cleaner, Rejected
from tunemill.dataset.current import is_current, read_report
from tunemill.dataset.formats import format_of
from tunemill.dataset.inference import INFERENCE_FILE, Inference, read_inference
from tunemill.dataset.judge import Judge, Judged, LeftOut, Limits, Ready, Record
from tunemill.dataset.lengths import Lengths, tokens_estimate
from tunemill.dataset.report import Report, RunFacts
from tunemill.dataset.spec import BuildSpec
from tunemill.dataset.tally import Figures
from tunemill.dataset.writing import FileRecord

__all__ = [
    "INFERENCE_FILE",
    "PAGE_FILE",
    "REJECTS_FILE",
    "REPORT_FILE",
    "TRAIN_FILE",
    "VALIDATION_FILE",
    "BuildResult",
    "BuildSpec",
    "CheckReport",
    "Cleaner",
    "Fault",
    "FaultKind",
    "Figures",
    "FileRecord",
    "Inference",
    "Judge",
    "Judged",
    "Judging",
    "LeftOut",
    "Lengths",
    "Limits",
    "Names",
    "PairReport",
    "Ready",
    "Record",
    "Rejected",
    "Report",
    "RunFacts",
    "Severity",
    "TrainFormat",
    "build",
    "check_file",
    "check_pair",
    "format_of",
    "is_current",
    "read_inference",
    "read_report",
    "tokens_estimate",
    "training_price",
]
