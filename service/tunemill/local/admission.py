"""What a request counts as when it is let in. Providers differ, and do not say: the simulator can play each of them."""

import math
from dataclasses import dataclass
from enum import Enum

from tunemill.local.calls import CHARACTERS_PER_TOKEN, Call


class Rule(Enum):
    """How prompt and output are counted. The prompt is an estimate from its characters, the output its bound."""

    SUM = "sum"  # both
    LARGER = "larger"  # the larger of the two
    PROMPT = "prompt"  # the prompt alone
    USAGE = "usage"  # both; what was not used is given back with the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The rule, how many characters it takes for a token, and whether the limits are announced in headers."""

    rule: Rule = Rule.SUM
    characters_per_token: float = float(CHARACTERS_PER_TOKEN)
    announced: bool = True

    def tokens(self, call: Call) -> int:
        """What the limiter counts before anything is produced."""
        prompt = math.ceil(call.prompt_characters / self.characters_per_token)
        output = (call.output_tokens_max or 0) * call.choices * call.prompts
        match self.rule:
            case Rule.SUM | Rule.USAGE:
                return prompt + output
            case Rule.LARGER:
                return max(prompt, output)
            case Rule.PROMPT:
                return prompt

    def given_back(self, counted: int, input_tokens: int, output_tokens: int) -> int:
        """What of it is given back when the answer is there."""
        return max(0, counted - input_tokens - output_tokens) if self.rule is Rule.USAGE else 0


COMMON = Admission()
