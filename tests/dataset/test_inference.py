"""inference.json: how the tuned model is to be asked."""

from pathlib import Path

import pytest
from tests.dataset.dataset_support import built, candidate_of, row_of, spec_of

from tunemill.dataset import Inference, read_inference
from tunemill.errors import RunFolderError
from tunemill.model import Json
from tunemill.recipe.sections import ChatTrain, CompletionTrain, PreferenceTrain

TALK: list[Json] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Arr"}]


def test_chat_is_asked_with_the_trained_templates(tmp_path: Path) -> None:
    """System prompt and user template, as they stand in the recipe."""
    built([], tmp_path, spec_of(ChatTrain(system="Be brief.", user="About {{ topic }}", assistant="{{ story }}")))
    inference = read_inference(tmp_path)
    assert inference == Inference(
        recipe="stories",
        base_model="gpt-4o-mini-2024-07-18",
        format="chat",
        system="Be brief.",
        user="About {{ topic }}",
    )
    assert inference.request("About rain", system="Be brief.") == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "About rain"}]
    }


def test_completion_is_asked_with_separator_and_stop(tmp_path: Path) -> None:
    """The same ones that end the training texts."""
    train = CompletionTrain(
        format="completion", prompt="{{ topic }}", completion="{{ story }}", separator="->", stop="#"
    )
    built([], tmp_path, spec_of(train))
    assert read_inference(tmp_path).request("rain") == {"prompt": "rain->", "stop": ["#"]}


def test_preference_is_asked_like_chat(tmp_path: Path) -> None:
    """System and user, without either answer."""
    train = PreferenceTrain(format="preference", user="{{ topic }}", preferred="{{ story }}", non_preferred="no")
    built([], tmp_path, spec_of(train))
    assert read_inference(tmp_path).request("rain") == {"messages": [{"role": "user", "content": "rain"}]}


@pytest.mark.parametrize(("other", "shared"), [("Be a pirate.", "Be a pirate."), ("Be a clerk.", "")])
def test_conversations_lend_their_system_prompt_when_all_share_it(tmp_path: Path, other: str, shared: str) -> None:
    """Where they differ there is none to name."""
    rows = [
        row_of(talk=[{"role": "system", "content": system}, *TALK], n=number)
        for number, system in enumerate(["Be a pirate.", other])
    ]
    rows[1] = row_of(talk=[{"role": "system", "content": other}, {"role": "user", "content": "Yo"}, TALK[1]])
    candidates = [candidate_of(position=position, row=row) for position, row in enumerate(rows)]
    built(candidates, tmp_path, spec_of(ChatTrain(messages="talk")))
    assert read_inference(tmp_path).system == shared


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 1}', b"\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """With the mend: build again."""
    (tmp_path / "inference.json").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"inference\.json: .*build the dataset again"):
        read_inference(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the mend: build first."""
    with pytest.raises(RunFolderError, match="build the dataset first"):
        read_inference(tmp_path)
