"""Providers and profiles as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop.agents.backends import default_profile, get_backend, profile_names
from loop.agents.backends.openai import OpenAIBackend
from loop.agents.backends.search import SearchBackend
from loop.agents.config import load_profiles, load_providers, resolve
from loop.errors import ProviderError
from loop.prices import Prices

PROVIDER = 'id = "mine"\napi = "openai"\nbase_url = "http://127.0.0.1:1/v1"\n'


def drop(home: Path, kind: str, name: str, text: str) -> None:
    folder = home / "agents" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(text)


def test_every_shipped_profile_resolves_to_a_priced_model(tmp_path: Path) -> None:
    for name in profile_names(tmp_path):
        profile, provider, info = resolve(name, tmp_path)
        assert profile.id == name and (provider.api == "search" or info.context > 0)


def test_the_shipped_prices_of_sonnet_are_right(tmp_path: Path) -> None:
    _, provider, info = resolve("claude-sonnet-4-6", tmp_path)
    assert provider.key_env == "ANTHROPIC_API_KEY"
    assert info.prices == Prices(3.0, 15.0, cache_read=0.3, cache_write=3.75)
    assert info.prices.cost(fresh=1_000_000, output=1_000_000) == pytest.approx(18.0)


def test_search_is_the_default_without_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from loop.agents.backends.claude import ClaudeBackend

    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert default_profile() == "search"
    assert isinstance(get_backend("search", tmp_path), SearchBackend)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    assert default_profile() == "claude-sonnet-4-6"
    backend = get_backend("claude-sonnet-4-6", tmp_path)
    assert isinstance(backend, ClaudeBackend) and backend.name == "claude-sonnet-4-6"


def test_a_missing_key_is_said_with_the_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with pytest.raises(ProviderError, match="set the environment variable OPENROUTER_API_KEY"):
        get_backend("openrouter-sonnet", tmp_path)


def test_a_local_server_needs_no_key(tmp_path: Path) -> None:
    assert isinstance(get_backend("vllm", tmp_path), OpenAIBackend)


def test_a_dropped_file_adds_a_provider_and_wins_over_a_shipped_one(tmp_path: Path) -> None:
    drop(tmp_path, "providers", "mine", PROVIDER + "[any_model]\ncontext = 1000\ninput = 0\noutput = 0\n")
    drop(tmp_path, "profiles", "mine", 'id = "mine"\nprovider = "mine"\nmodel = "m"\ntemperature = 0.5\n')
    drop(tmp_path, "profiles", "search", 'id = "search"\nprovider = "search"\ntitle = "ours"\n')
    backend = get_backend("mine", tmp_path)
    assert isinstance(backend, OpenAIBackend) and backend.access.profile.temperature == 0.5
    assert load_profiles(tmp_path)["search"].title == "ours" and "anthropic" in load_providers(tmp_path)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("providers", "id = ", "cannot be read"),
        ("providers", 'api = "openai"\nbase_url = "http://x"\n', "id is missing"),
        ("providers", 'id = "x"\napi = "grpc"\n', "api must be one of"),
        ("providers", 'id = "x"\napi = "openai"\n', "base_url is missing"),
        ("providers", 'id = "x"\napi = "openai"\nbase_url = "ftp://x"\n', "must start with http"),
        ("providers", PROVIDER + 'key_env = "sk-ant-123"\n', "never a key"),
        ("providers", PROVIDER + 'key = "sk-123"\n', "does not know key"),
        ("providers", PROVIDER + 'max_tokens_field = "tokens"\n', "max_tokens_field"),
        ("providers", PROVIDER + "[models.m]\ncontext = 1\n", "needs context, input and output"),
        ("providers", PROVIDER + "[models.m]\ncontext = 1\ninput = -1\noutput = 1\n", "not negative"),
        ("providers", PROVIDER + "[models.m]\ncontext = 1\ninput = nan\noutput = 1\n", "not negative"),
        ("profiles", 'provider = "search"\n', "id is missing"),
        ("profiles", 'id = "x"\nprovider = "search"\ntemperature = 3\n', "between 0 and 2"),
        ("profiles", 'id = "x"\nprovider = "search"\ntemperature = true\n', "wrong type"),
        ("profiles", 'id = "x"\nprovider = "search"\nmax_turns = 0\n', "must be positive"),
        ("profiles", 'id = "x"\nprovider = "search"\nmax_tokens = "9"\n', "wrong type"),
        ("profiles", 'id = "x"\nprovider = "search"\nkey = "k"\n', "does not know key"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, kind: str, text: str, words: str) -> None:
    drop(tmp_path, kind, "wrong", text)
    with pytest.raises(ProviderError, match=words) as caught:
        (load_providers if kind == "providers" else load_profiles)(tmp_path)
    assert "wrong.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ('id = "x"\nprovider = "nowhere"\nmodel = "m"\n', "unknown provider"),
        ('id = "x"\nprovider = "anthropic"\n', "names no model"),
        ('id = "x"\nprovider = "anthropic"\nmodel = "claude-99"\n', "no prices for the model"),
    ],
)
def test_a_profile_that_leads_nowhere_is_refused(tmp_path: Path, profile: str, words: str) -> None:
    drop(tmp_path, "profiles", "x", profile)
    with pytest.raises(ProviderError, match=words):
        resolve("x", tmp_path)
    with pytest.raises(ProviderError, match="there are claude"):
        resolve("absent", tmp_path)
