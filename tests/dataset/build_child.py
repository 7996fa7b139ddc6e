"""A process that builds datasets of two kinds in turn until it is killed: `python -m tests.dataset.build_child FOLDER`.

It says "ready", and then each kind that is built.
"""

import sys
from pathlib import Path

from tests.dataset.dataset_support import built, candidate_of, spec_of

from tunemill.recipe.sections import ChatTrain


def build_kind(kind: str, folder: Path) -> None:
    """A dataset of one of two kinds, which differ in every file."""
    candidates = (candidate_of(f"{kind} story {number}", position=number) for number in range(300))
    train = ChatTrain(user="{{ topic }}", assistant="{{ story }}", validation_fraction=0.2)
    built(candidates, folder, spec_of(train, recipe=kind, fingerprint=kind))


def main(folder: Path) -> None:
    """Does not return."""
    print("ready", flush=True)
    while True:
        for kind in ("old", "new"):
            build_kind(kind, folder)
            print(kind, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
