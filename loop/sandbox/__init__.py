"""Sandboxes: programs that nobody trusts run here and nowhere else."""

from __future__ import annotations

import os

from loop.errors import SandboxError
from loop.sandbox.base import SandboxBackend

SETTING = "PAWL_SANDBOX"
BACKENDS = ("bwrap", "container")
DEFAULT = "bwrap"

_made: dict[str, SandboxBackend] = {}


def get_backend(name: str = "") -> SandboxBackend:
    """The named backend, by default the chosen one, probed once per process.

    Raises SandboxError, with the remedy, for an unknown name or where the probe fails. There is no fallback.
    """
    backend = chosen_backend(name)
    probe = backend.probe()
    if not probe.ok:
        raise SandboxError(probe.detail)
    return backend


def chosen_name() -> str:
    """The name that the setting gives, whether there is such a backend or not."""
    return os.environ.get(SETTING, "").strip() or DEFAULT


def chosen_backend(name: str = "") -> SandboxBackend:
    """As `get_backend`, without probing whether it works here."""
    name = name or chosen_name()
    if name not in BACKENDS:
        raise SandboxError(
            f"There is no sandbox backend named {name}; set {SETTING} to {' or '.join(BACKENDS)}."
        )
    if name not in _made:
        _made[name] = _make(name)
    return _made[name]


def _make(name: str) -> SandboxBackend:
    if name == "bwrap":
        from loop.sandbox.bwrap import BwrapBackend

        return BwrapBackend()
    from loop.sandbox.container.backend import ContainerBackend

    return ContainerBackend(os.environ)
