"""What comes from the environment: which server, which key. Nothing else reads environment variables for a provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tunemill.errors import ArgumentError
from tunemill.recipe import DEFAULT_BASE_URL, NotifySection, Recipe, has_credentials, problem_of_url

BASE_URL_ENV = "OPENAI_BASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAccess:
    """Where a provider is and the key for it. The key is in no representation of this value."""

    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where messages go: a secret, of which `host` may be said."""

    url: str = field(repr=False)

    @property
    def host(self) -> str:
        """The host alone."""
        return urlsplit(self.url).hostname or ""


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


def secrets_of(recipe: Recipe, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Whatever is in the variables that the recipe names: it is to be shown nowhere."""
    names = {section.api_key_env for section in (recipe.provider, *recipe.providers.values())}
    if recipe.notify is not None:
        names.add(recipe.notify.webhook_env)
    return tuple(value for name in sorted(names) if (value := environment.get(name, "").strip()))


def webhook_of(section: NotifySection, environment: Mapping[str, str]) -> Webhook:
    """Where `[notify]` sends. Raises ArgumentError, which does not show the address: it is a secret."""
    url = environment.get(section.webhook_env, "").strip()
    if not url:
        raise ArgumentError(
            "the environment variable is not set",
            mend="export it with the webhook's address, or take [notify] out of the recipe",
            key=section.webhook_env,
        )
    if not (url.isascii() and url.isprintable()) or problem_of_url(url.partition("?")[0]):
        raise ArgumentError(
            "what is in it is no address (it is not shown here, as it is a secret)",
            mend="set it to the webhook's address, which begins with https://",
            key=section.webhook_env,
        )
    return Webhook(url=url)


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
