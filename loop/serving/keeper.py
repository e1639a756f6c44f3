"""Keeps the lease on what is live: asks the service for it, checks it offline, and knows when it has run out.

Nothing is believed that the log's own key did not sign. What is served stops as soon as the service says no, or what it
says does not check; while it cannot be reached or cannot sign, serving goes on to the end of the lease at hand.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from governance.assurance.receipt import Moved, check_lease, check_receipt
from governance.audit.lease import LEASE
from governance.audit.notes import VerifierKey
from governance.errors import AuditError
from loop.errors import LoopError

ANSWER_S = 5.0
MOST_BODY = 2**20
NOT_ASKED = "No lease has been asked for yet."


class NotServing(LoopError):
    """There is no lease to serve anything on; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where leases come from: the service's address, a read token, the task, and the log's keys that count."""

    url: str
    token: str
    task: str
    keys: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True)
class Leased:
    """A release that may be served: until `ends` by this process's clock, and until `not_after` by the wall's."""

    release: str
    moved: Moved
    ends: float
    not_after: datetime


class LeaseKeeper:
    """The lease of one serving process. `clock` counts seconds and never goes back."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._leased: Leased | None = None
        self._why = NOT_ASKED
        self._generation = 0

    def hold(self) -> Leased:
        """The lease, while it runs. Raises NotServing with the reason when there is none."""
        leased = self._leased
        if leased is None:
            raise NotServing(self._why)
        if self._clock() >= leased.ends or datetime.now(UTC) >= leased.not_after:
            raise NotServing(f"The lease ran out at {leased.not_after:%H:%M:%S} UTC. {self._why}".strip())
        return leased

    def renew(self) -> None:
        """Ask for a new lease, once. Whatever goes wrong is kept as the reason that `hold` gives."""
        asked, nonce = self._clock(), secrets.token_hex(16)
        try:
            status, told = self._ask(nonce)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._why = (
                f"The service at {self._source.url} gives no answer ({type(error).__name__}: {error})."
            )
            return
        if status != 200:
            self._why = f"The service gave no lease: {told.get('error', f'it answered {status}')}"
            if status < 500:
                self._leased = None
            return
        try:
            self._leased, self._why = self._checked(told, asked, nonce), ""
        except (AuditError, KeyError, TypeError, AttributeError) as error:
            self._leased, self._why = None, f"What the service gave is no lease: {error}"

    def _ask(self, nonce: str) -> tuple[int, Mapping[str, Any]]:
        source = self._source
        reply = httpx.get(
            f"{source.url.rstrip('/')}/api/v1/tasks/{source.task}/lease",
            params={"nonce": nonce},
            headers={"Authorization": f"Bearer {source.token}"},
            timeout=ANSWER_S,
        )
        if len(reply.content) > MOST_BODY:
            raise ValueError(f"an answer of {len(reply.content)} bytes")
        told = reply.json()
        if not isinstance(told, dict):
            raise ValueError("an answer that is no JSON object")
        return reply.status_code, told

    def _checked(self, told: Mapping[str, Any], asked: float, nonce: str) -> Leased:
        """The lease in an answer. Raises AuditError unless the log's key signed it, for this request and this task."""
        source = self._source
        moved = check_receipt(told["receipt"], source.keys, f"release:{source.task}", told["release"])
        lease = check_lease(told["lease"], source.keys, moved, nonce, datetime.now(UTC))
        if moved.generation < self._generation:
            raise AuditError(
                f"It is of generation {moved.generation}, and {self._generation} was live already; it is an old one."
            )
        self._generation = moved.generation
        return Leased(moved.digest, moved, asked + LEASE.total_seconds(), lease.not_after)
