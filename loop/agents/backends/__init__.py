"""Agent backends by the name of a profile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from deploy.home import home as data_home
from loop.agents.backends.base import AgentBackend
from loop.agents.backends.conversation import Access, Pace
from loop.agents.backends.search import SearchBackend
from loop.agents.config import load_profiles, resolve
from loop.errors import ProviderError

DEFAULT_CLAUDE = "claude-sonnet-4-6"
SEARCH = "search"


def get_backend(
    profile_name: str, home: Path | None = None, sleep: Callable[[float], None] = time.sleep
) -> AgentBackend:
    """The backend of a profile; `home` is the data home (default: this service's).

    Raises ProviderError when the profile, its provider or its key is missing, with what to do.
    """
    profile, provider, info = resolve(profile_name, home or data_home())
    if provider.api == SEARCH:
        return SearchBackend(profile.id)
    key = os.environ.get(provider.key_env, "") if provider.key_env else "none"
    if not key:
        raise ProviderError(
            f"Profile {profile.id} needs a key: set the environment variable {provider.key_env}."
        )
    access = Access(profile, provider, info, key)
    if provider.api == "anthropic":
        from loop.agents.backends.claude import ClaudeBackend

        return ClaudeBackend(access, Pace(sleep))
    from loop.agents.backends.openai import OpenAIBackend

    return OpenAIBackend(access, Pace(sleep))


def default_profile() -> str:
    """`claude-sonnet-4-6` when an Anthropic key is set, else `search`."""
    return DEFAULT_CLAUDE if os.environ.get("ANTHROPIC_API_KEY") else SEARCH


def profile_names(home: Path | None = None) -> list[str]:
    """Every profile that can be named."""
    return sorted(load_profiles(home or data_home()))
