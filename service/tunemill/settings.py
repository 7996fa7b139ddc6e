"""What comes from the environment: which server, which key. Nothing else reads environment variables for a provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunemill.errors import ArgumentError
from tunemill.recipe import DEFAULT_BASE_URL, Recipe, has_credentials, problem_of_url

BASE_URL_ENV = "OPENAI_BASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAccess:
    """Where a provider is and the key for it. The key is in no representation of this value."""

    base_url: str
    api_key: str = field(repr=False)


def default_base_url(environment: Mapping[str, str]) -> str:
    """Where a provider is that names no address: OPENAI_BASE_URL, else the hosted API. Raises ArgumentError."""
    url = environment.get(BASE_URL_ENV, "").strip()
    if not url:
        return DEFAULT_BASE_URL
    if has_credentials(url):
        raise ArgumentError(
            "there is a password or a key in it", mend="take it out; keys have variables of their own", key=BASE_URL_ENV
        )
    if problem := problem_of_url(url):
        raise ArgumentError(problem, mend="set it to something like https://host/v1", key=BASE_URL_ENV, value=url)
    return url


def access_to(recipe: Recipe, name: str, environment: Mapping[str, str]) -> ProviderAccess:
    """How to reach the provider `name` ("" is `[provider]`). Raises ArgumentError where its key is not set."""
    section = recipe.provider if name == "" else recipe.providers[name]
    key = environment.get(section.api_key_env, "").strip()
    if not key:
        table = "[provider]" if name == "" else f"[providers.{name}]"
        raise ArgumentError(
            "the environment variable is not set",
            mend=f"export it with the key for {table}, or add --local to try the recipe for nothing",
            key=section.api_key_env,
        )
    if not (key.isascii() and key.isprintable()):
        raise ArgumentError(
            "the key in it holds characters that no key has (a line break, or letters outside ASCII)",
            mend="set it to the key alone, as the provider shows it",
            key=section.api_key_env,
        )
    return ProviderAccess(base_url=section.base_url or default_base_url(environment), api_key=key)
