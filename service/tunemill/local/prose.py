"""Readable pseudo-prose from a small grammar: the simulator's text. The same dice make the same text."""

from random import Random

_WHO = (
    "the old cartographer", "a retired diver", "the night baker", "a patient forger", "the youngest envoy",
    "an exiled gardener", "the clockmaker's daughter", "a stubborn ferryman", "the blind archivist",
    "a travelling judge", "the last lamplighter", "a reluctant thief", "the widowed pilot", "a choir of strangers",
    "the radio operator", "an honest smuggler", "the court physician", "a runaway apprentice",
    "the lighthouse keeper", "a weary translator", "the village poet", "an ambitious clerk", "the mountain guide",
    "a forgotten actress",
)  # fmt: skip
_DOES = (
    "hides", "discovers", "betrays", "follows", "repairs", "steals", "questions", "abandons", "remembers",
    "bargains for", "paints", "buries", "returns", "misreads", "carries", "unlocks", "defends", "counts", "burns",
    "inherits", "mistakes", "photographs", "trades away", "listens to",
)  # fmt: skip
_WHAT = (
    "a sealed letter", "the drowned bell", "an unfinished map", "the stolen harvest", "a borrowed name",
    "the silent engine", "a debt of honour", "the second key", "an impossible recipe", "the missing train",
    "a paper crown", "the winter road", "a broken promise", "the empty theatre", "an old photograph",
    "the hidden well", "a dangerous song", "the glass orchard", "a foreign coin", "the wrong suitcase",
    "an unsigned treaty", "the river's secret", "a lucky wound", "the final page",
)  # fmt: skip
_WHEN = (
    "before the first frost", "while the city sleeps", "under a borrowed sky", "as the tide turns",
    "on market day", "in the third year of rain", "during the long festival", "without telling anyone",
    "at the edge of the desert", "between two wars", "when the music stops", "for the sake of a friend",
    "against all advice", "beside the frozen canal", "after the trial", "in a house of mirrors",
    "with nothing left to lose", "until the lamps go out", "far from the capital", "in plain sight",
    "at the hour of prayer", "through the burning quarter", "once the guests have gone", "on the slow boat north",
)  # fmt: skip
_LINK = (
    "Soon", "Meanwhile", "Even so", "By morning", "Much later", "In secret", "At last", "Against expectation",
    "From then on", "For a moment", "Years before", "That same night",
)  # fmt: skip

_OPENINGS = tuple(who[0].upper() + who[1:] for who in _WHO)
_PARAGRAPH = 5  # sentences


def write(dice: Random, characters: int) -> str:
    """Between half of `characters` and `characters` characters of prose, whole words, ending with a full stop.

    Below about 20 characters there is only room for a word or two; the text is never empty for `characters` >= 4.
    """
    pieces: list[str] = []
    length = 0
    while length < characters:
        sentence = _sentence(dice, len(pieces))
        pieces.append(sentence)
        length += len(sentence)
    return _cut("".join(pieces), characters)


def _sentence(dice: Random, index: int) -> str:
    # One draw split by division: five separate choices cost five times as much, and this is the server's hot path.
    draw, who = divmod(dice.getrandbits(40), len(_WHO))
    draw, does = divmod(draw, len(_DOES))
    draw, what = divmod(draw, len(_WHAT))
    draw, when = divmod(draw, len(_WHEN))
    if index == 0:
        return f"{_OPENINGS[who]} {_DOES[does]} {_WHAT[what]} {_WHEN[when]}."
    gap = "\n\n" if index % _PARAGRAPH == 0 else " "
    if draw % 3:
        return f"{gap}{_OPENINGS[who]} {_DOES[does]} {_WHAT[what]} {_WHEN[when]}."
    return f"{gap}{_LINK[draw % len(_LINK)]}, {_WHO[who]} {_DOES[does]} {_WHAT[what]} {_WHEN[when]}."


def _cut(text: str, characters: int) -> str:
    end = text.rfind(".", 0, characters)
    if end + 1 >= characters // 2:
        return text[: end + 1]
    end = text.rfind(" ", 0, characters)
    return (text[:end] if end > 0 else text[: max(1, characters - 1)]) + "."
