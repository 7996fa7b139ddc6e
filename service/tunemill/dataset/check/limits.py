"""What targets accept: files, numbers of examples, and how long one example may be for each model.

From the hosted fine-tuning guide's table of limits per example, as it stood in 2025. A model that is not here is not
measured against anything, and the report says so.
"""

FILE_BYTES_MAX = 512 * 1024 * 1024
EXAMPLES_MIN = 10
EXAMPLES_ADVISED = 50

_EXAMPLE_TOKENS_MAX = {
    "gpt-4o-mini": 65_536,
    "gpt-4o": 65_536,
    "gpt-4.1-nano": 65_536,
    "gpt-4.1-mini": 65_536,
    "gpt-4.1": 65_536,
    "gpt-4": 8_192,
    "gpt-3.5-turbo-0613": 4_096,
    "gpt-3.5-turbo": 16_385,
    "babbage-002": 16_384,
    "davinci-002": 16_384,
}


def example_tokens_max(model: str) -> int | None:
    """The longest example of a model, in tokens; None for a model that is not known here.

    A dated name (gpt-4o-mini-2024-07-18) and a tune of it (ft:gpt-4o-mini-2024-07-18:...) have their base's limit.
    """
    base = model.removeprefix("ft:").split(":", 1)[0]
    names = [name for name in _EXAMPLE_TOKENS_MAX if base == name or base.startswith(f"{name}-")]
    return _EXAMPLE_TOKENS_MAX[max(names, key=len)] if names else None
