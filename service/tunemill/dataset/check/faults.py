"""What can be wrong with a fine-tune file: the closed list of kinds, each with its weight and its mend."""

from dataclasses import dataclass
from enum import Enum

from tunemill.model import Json


class Severity(Enum):
    """An error makes targets refuse the file; a warning makes a worse model, or is a risk."""

    ERROR = "error"
    WARNING = "warning"


class FaultKind(Enum):
    """Every kind of fault, with its weight and what to do about it."""

    code: str
    severity: Severity
    mend: str

    def __new__(cls, code: str, severity: Severity, mend: str) -> "FaultKind":
        member = object.__new__(cls)
        member._value_ = code
        member.code, member.severity, member.mend = code, severity, mend
        return member

    # of the file
    NAME = "name_not_jsonl", Severity.ERROR, "rename the file so that it ends in .jsonl"
    TOO_LARGE = "file_too_large", Severity.ERROR, "leave examples out: a few thousand good ones teach more"
    TOO_FEW = "too_few_examples", Severity.ERROR, "add examples: targets want at least 10"
    FEW = "few_examples", Severity.WARNING, "50 to 100 examples are where fine-tuning starts to show"
    # of a line
    BOM = "byte_order_mark", Severity.ERROR, "save the file as UTF-8 without a byte order mark"
    NOT_UTF8 = "not_utf8", Severity.ERROR, "save the file as UTF-8"
    LINE_TOO_LONG = "line_too_long", Severity.ERROR, "put one example on each line"
    EMPTY_LINE = "empty_line", Severity.ERROR, "remove the line"
    INVALID_JSON = "invalid_json", Severity.ERROR, "write one complete JSON object on each line"
    NOT_AN_OBJECT = "not_an_object", Severity.ERROR, "write one JSON object, in {}, on each line"
    # of an example
    UNKNOWN_FORMAT = (
        "unknown_format",
        Severity.ERROR,
        "use messages (chat), prompt and completion, or input, preferred_output and non_preferred_output",
    )
    MIXED_FORMATS = "mixed_formats", Severity.ERROR, "keep one format in a file; put the others into files of their own"
    UNKNOWN_KEY = "unknown_key", Severity.ERROR, "remove the key"
    MISSING_KEY = "missing_key", Severity.ERROR, "add the key"
    WRONG_TYPE = "wrong_type", Severity.ERROR, "write a value of the type that is asked for"
    EMPTY_TEXT = "empty_text", Severity.ERROR, "write a text, or leave the example out"
    # of messages
    ROLE = "unknown_role", Severity.ERROR, "use system, developer, user, assistant or tool"
    LAST_ROLE = (
        "last_not_assistant",
        Severity.ERROR,
        "end the example with the assistant's message that is to be learned",
    )
    NO_ASSISTANT = "no_assistant", Severity.ERROR, "add the assistant's message that is to be learned"
    WEIGHT = "weight", Severity.ERROR, "write weight 0 (do not learn) or 1 (learn), on assistant messages only"
    NOTHING_TO_LEARN = "nothing_to_learn", Severity.ERROR, "give at least one assistant message weight 1, or none"
    DEPRECATED = "deprecated_key", Severity.WARNING, "use tools and tool_calls instead"
    # of tools
    TOOL_CALL = "tool_call", Severity.ERROR, 'write {"id", "type": "function", "function": {"name", "arguments"}}'
    TOOL_ANSWER = "tool_answer", Severity.ERROR, "give tool_call_id the id of a call made earlier in the example"
    TOOL_UNANSWERED = "tool_call_unanswered", Severity.ERROR, "follow the calls with one tool message each"
    TOOLS = "tools", Severity.ERROR, 'write [{"type": "function", "function": {"name", "parameters"}}]'
    TOOL_UNDECLARED = "tool_undeclared", Severity.WARNING, "declare the function in the example's tools"
    # of completions
    LEADING_SPACE = "no_leading_space", Severity.WARNING, "start the completion with a space"
    SEPARATOR_MISSING = (
        "separator_missing",
        Severity.WARNING,
        "end every prompt with the same separator, such as \\n\\n###\\n\\n",
    )
    SEPARATOR = "separator_differs", Severity.WARNING, "end this prompt as the others end"
    STOP_MISSING = "stop_missing", Severity.WARNING, "end every completion with the same stop sequence, such as ' END'"
    STOP = "stop_differs", Severity.WARNING, "end this completion as the others end"
    # of preferences
    ONE_OUTPUT = "one_output_message", Severity.ERROR, "write a list with exactly one assistant message"
    INPUT_LAST = "input_ends_with_assistant", Severity.ERROR, "end input.messages with the message that is answered"
    OUTPUTS_EQUAL = "outputs_equal", Severity.WARNING, "leave the example out: there is nothing to prefer"
    # of what the texts are
    TOO_LONG = "example_too_long", Severity.WARNING, "shorten it: targets cut or refuse what is over the limit"
    DUPLICATE = "duplicate", Severity.WARNING, "keep one of them"
    DUPLICATES_UNKNOWN = "duplicates_not_looked_for", Severity.WARNING, "check the file in parts"
    SECRET = "secret", Severity.WARNING, "remove it, and revoke it where it was valid"
    # of a pair of files
    SHARED_EXAMPLE = "example_in_both_files", Severity.ERROR, "remove it from the validation file"
    SHARED_PROMPT = "prompt_in_both_files", Severity.WARNING, "keep examples with the same prompt in one of the files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong. `line` counts from 1 and is None for the file as a whole; `field` is a path such as
    messages[2].content, "" for the line as a whole. `problem` never holds more than a few words of the data."""

    kind: FaultKind
    problem: str
    field: str = ""
    mend: str
    line: int | None = None

    @property
    def severity(self) -> Severity:
        return self.kind.severity

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        field = f"{self.field}: " if self.field else ""
        return f"{where}{field}{self.problem}; {self.mend}"

    def to_json(self) -> dict[str, Json]:
        return {
            "line": self.line,
            "field": self.field,
            "kind": self.kind.code,
            "severity": self.severity.value,
            "problem": self.problem,
            "mend": self.mend,
        }


def fault(kind: FaultKind, field: str, problem: str, *, mend: str = "", line: int | None = None) -> Fault:
    """A fault with its kind's own mend, unless the place knows a better one."""
    return Fault(kind=kind, field=field, problem=problem, mend=mend or kind.mend, line=line)
