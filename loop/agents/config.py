"""Providers and profiles: TOML files in a folder. Keys are never in them, only the names of variables.

Shipped files lie beside this module; files in `agents/providers` and `agents/profiles` of the data home are
added, and win over shipped ones with the same id.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loop.errors import ProviderError
from loop.prices import Prices

SHIPPED = Path(__file__).parent
APIS = ("anthropic", "openai", "search")
TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")
MAX_TOKENS, MAX_TURNS = 16_000, 40


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model: context in tokens, and its prices."""

    context: int
    prices: Prices


@dataclass(frozen=True, slots=True)
class Provider:
    """Where models are. `key_env` names the environment variable with the key; empty when none is needed.

    `any_model` prices the models that the table does not name (one's own server); None refuses them.
    """

    id: str
    api: str
    base_url: str = ""
    key_env: str = ""
    max_tokens_field: str = "max_tokens"
    models: Mapping[str, ModelInfo] = field(default_factory=dict)
    any_model: ModelInfo | None = None

    def model(self, name: str) -> ModelInfo:
        """The entry of one model. Raises ProviderError when the file has no prices for it."""
        info = self.models.get(name, self.any_model)
        if info is None:
            raise ProviderError(
                f"Provider {self.id} has no prices for the model {name!r}; add them to its file: "
                "a budget cannot be kept without them."
            )
        return info


@dataclass(frozen=True, slots=True)
class Profile:
    """How an agent uses a provider. `temperature` None leaves it to the provider (some models refuse it)."""

    id: str
    provider: str
    model: str = ""
    title: str = ""
    max_tokens: int = MAX_TOKENS
    temperature: float | None = None
    max_turns: int = MAX_TURNS


def load_providers(home: Path | None) -> dict[str, Provider]:
    """All providers by id. Raises ProviderError naming the file that is wrong."""
    return {entry.id: entry for entry in (_provider(path) for path in _files("providers", home))}


def load_profiles(home: Path | None) -> dict[str, Profile]:
    """All profiles by id. Raises ProviderError naming the file that is wrong."""
    return {entry.id: entry for entry in (_profile(path) for path in _files("profiles", home))}


def resolve(profile_id: str, home: Path | None) -> tuple[Profile, Provider, ModelInfo]:
    """A profile with its provider and its model's prices. Raises ProviderError with what to do."""
    profiles = load_profiles(home)
    profile = profiles.get(profile_id)
    if profile is None:
        raise ProviderError(
            f"There is no agent profile {profile_id!r}; there are {', '.join(sorted(profiles))}."
        )
    provider = load_providers(home).get(profile.provider)
    if provider is None:
        raise ProviderError(f"Profile {profile_id} names an unknown provider, {profile.provider!r}.")
    if provider.api == "search":
        return profile, provider, ModelInfo(0, Prices())
    if not profile.model:
        raise ProviderError(f'Profile {profile_id} names no model; add model = "..." to its file.')
    return profile, provider, provider.model(profile.model)


def provider_at(base_url: str, home: Path | None) -> Provider | None:
    """The OpenAI-compatible provider whose file names this address, or None."""
    address = _address(base_url)
    entries = load_providers(home).values()
    return next(
        (entry for entry in entries if entry.api == "openai" and _address(entry.base_url) == address), None
    )


def _address(base_url: str) -> str:
    return base_url.rstrip("/").removesuffix("/v1").casefold()


def _files(kind: str, home: Path | None) -> list[Path]:
    folders = [SHIPPED / kind, *([home / "agents" / kind] if home else [])]
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.toml"))]


def _provider(path: Path) -> Provider:
    table = _Table(path)
    api = table.text("api")
    if api not in APIS:
        raise table.wrong(f"api must be one of {', '.join(APIS)}")
    base_url = "" if api == "search" else table.text("base_url")
    if base_url and not base_url.startswith(("http://", "https://")):
        raise table.wrong("base_url must start with http:// or https://")
    key_env = table.text("key_env", "")
    if key_env and not (key_env.isupper() and key_env.replace("_", "").isalnum() and key_env.isascii()):
        raise table.wrong(
            "key_env must be the name of an environment variable such as MY_API_KEY, never a key"
        )
    token_field = table.text("max_tokens_field", "max_tokens")
    if token_field not in TOKEN_FIELDS:
        raise table.wrong(f"max_tokens_field must be one of {', '.join(TOKEN_FIELDS)}")
    models = table.take("models", dict, {})
    any_model = table.take("any_model", dict, None)
    made = Provider(
        table.text("id"),
        api,
        base_url,
        key_env,
        token_field,
        {name: _model(table, name, entry) for name, entry in models.items()},
        _model(table, "any_model", any_model) if any_model is not None else None,
    )
    table.done()
    return made


def _profile(path: Path) -> Profile:
    table = _Table(path)
    temperature = table.take("temperature", (int, float), None)
    if temperature is not None and not 0 <= temperature <= 2:
        raise table.wrong("temperature must be between 0 and 2")
    made = Profile(
        id=table.text("id"),
        provider=table.text("provider"),
        model=table.text("model", ""),
        title=table.text("title", ""),
        max_tokens=table.positive("max_tokens", MAX_TOKENS),
        temperature=None if temperature is None else float(temperature),
        max_turns=table.positive("max_turns", MAX_TURNS),
    )
    table.done()
    return made


def _model(table: _Table, name: str, entry: Any) -> ModelInfo:
    fields = ("context", "input", "output", "cache_read", "cache_write")
    if not isinstance(entry, dict) or not {"context", "input", "output"} <= set(entry) <= set(fields):
        raise table.wrong(
            f"the model {name} needs context, input and output (cache_read and cache_write may follow)"
        )
    for key, value in entry.items():
        good = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and value >= 0
        )
        if not good:
            raise table.wrong(f"the model {name}: {key} must be a number that is not negative")
    return ModelInfo(
        int(entry["context"]), Prices(**{key: float(entry[key]) for key in fields[1:] if key in entry})
    )


class _Table:
    """One TOML file, read key by key; what is left over at the end is an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._left = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.wrong(f"it cannot be read ({error})") from error

    def wrong(self, what: str) -> ProviderError:
        """The error for this file."""
        return ProviderError(f"{self._path}: {what}.")

    def take(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        """A value of a kind, or its default."""
        value = self._left.pop(key, default)
        if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
            raise self.wrong(f"{key} has the wrong type")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A string; required without a default."""
        value = self.take(key, str, default)
        if not isinstance(value, str) or (default is None and not value):
            raise self.wrong(f"{key} is missing")
        return value

    def positive(self, key: str, default: int) -> int:
        """A positive whole number."""
        value = self.take(key, int, default)
        if value < 1:
            raise self.wrong(f"{key} must be positive")
        return int(value)

    def done(self) -> None:
        """Refuse unknown keys."""
        if self._left:
            raise self.wrong(f"it does not know {', '.join(sorted(self._left))}")
