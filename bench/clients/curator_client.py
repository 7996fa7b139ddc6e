"""curator on the same work; runs in curator's own environment and imports nothing of ours.

    python curator_client.py BASE_URL PROMPTS AT_ONCE MAX_TOKENS REQUESTS_PER_MINUTE TOKENS_PER_MINUTE FOLDER

PROMPTS is a file with one JSON object a line, of which `text` is the prompt; 0 a minute is no limit.
Prints one line of JSON with `began_at`, `seconds` and `cpu_s` of the call that makes the completions (imports are not
counted), `max_rss_mib` and `answers`. Its cache, viewer, display and telemetry are off, and an answer that was cut off
at `max_tokens` counts as one, as it does for tunemill.
"""

import json
import os
import resource
import sys
import time
from importlib.util import find_spec
from pathlib import Path

NO_LIMIT = 1_000_000_000


def _prepare(folder: Path) -> None:
    """Its switches are environment variables that it reads when it is imported."""
    litellm = find_spec("litellm")
    assert litellm is not None
    assert litellm.origin is not None
    os.environ.update(
        CURATOR_DISABLE_CACHE="true",
        CURATOR_CACHE_DIR=str(folder / "cache"),
        CURATOR_DISABLE_RICH_DISPLAY="1",
        CURATOR_TRACKER_DISABLED="1",
        CURATOR_VIEWER="0",
        TELEMETRY_ENABLED="0",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        HF_HUB_OFFLINE="1",
        HF_HOME=str(folder / "hf"),
        # The vocabulary that it counts tokens with is otherwise downloaded.
        TIKTOKEN_CACHE_DIR=str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"),
    )


def main(base_url: str, prompts: Path, at_once: int, max_tokens: int, requests: int, tokens: int, folder: Path) -> None:
    """Make the completions and print the figures."""
    _prepare(folder)
    from bespokelabs import curator

    rows = [json.loads(line)["text"] for line in prompts.read_text(encoding="utf-8").splitlines()]
    llm = curator.LLM(
        model_name="gpt-4o-mini",
        backend="openai",
        generation_params={"max_tokens": max_tokens},
        backend_params={
            "base_url": base_url,
            "max_concurrent_requests": at_once,
            "max_requests_per_minute": requests or NO_LIMIT,
            "max_tokens_per_minute": tokens or NO_LIMIT,
            "invalid_finish_reasons": ["content_filter"],
        },
    )
    began_at = time.time()
    started, cpu = time.perf_counter(), time.process_time()
    answers = llm(rows)
    figures = {
        "began_at": began_at,
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "max_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "answers": len(answers.dataset),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    url, file, *numbers, place = sys.argv[1:]
    at_once, max_tokens, requests, tokens = map(int, numbers)
    main(url, Path(file), at_once, max_tokens, requests, tokens, Path(place))
