"""Sandboxes: programs that nobody trusts run here and nowhere else."""

from __future__ import annotations

from loop.errors import SandboxError
from loop.sandbox.base import SandboxBackend

_ready: dict[str, SandboxBackend] = {}


def get_backend(name: str = "bwrap") -> SandboxBackend:
    """The named backend, probed once per process.

    Raises SandboxError, with the remedy, for an unknown name or where the probe fails. There is no fallback.
    """
    if name not in _ready:
        backend = _make(name)
        probe = backend.probe()
        if not probe.ok:
            raise SandboxError(probe.detail)
        _ready[name] = backend
    return _ready[name]


def _make(name: str) -> SandboxBackend:
    if name != "bwrap":
        raise SandboxError(f"There is no sandbox backend named {name}; the one there is, is bwrap.")
    from loop.sandbox.bwrap import BwrapBackend

    return BwrapBackend()
