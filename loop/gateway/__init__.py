"""Metered access to the task model: one unix socket a run, an allow-list, a budget and a full record."""

from __future__ import annotations

from loop.gateway.memory import Divergence, Memory, Record, ReplyCache
from loop.gateway.server import open_gateway
from loop.gateway.session import GatewaySession
from loop.gateway.types import TASK_MODEL, GatewayLimits, Upstream

__all__ = [
    "TASK_MODEL",
    "Divergence",
    "GatewayLimits",
    "GatewaySession",
    "Memory",
    "Record",
    "ReplyCache",
    "Upstream",
    "open_gateway",
]
