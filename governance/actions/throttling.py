"""Counting failed proofs of identity in the database, so that every process knows of every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.utils import timezone

from governance.errors import NotAllowed
from governance.models import Attempt

WINDOW: Final = timedelta(minutes=15)
ACCOUNT_LIMIT: Final = 5
ADDRESS_LIMIT: Final = 30


class TooManyAttempts(NotAllowed):
    """Too many failures lately, for this account or from this address; the message says how long to wait."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How many failures within WINDOW are let through under one key."""

    key: str
    most: int


def begin_attempt(limits: Sequence[Limit]) -> list[int]:
    """Count an attempt before it is tried; returns what `forgive` takes back.

    It is counted first, so that attempts made at the same time cannot all slip through. A refused attempt is not
    counted: the wait ends WINDOW after the failures that caused it, whatever is tried meanwhile. Raises
    TooManyAttempts.
    """
    now = timezone.now()
    Attempt.objects.filter(failed_at__lte=now - WINDOW).delete()
    made = [Attempt.objects.create(key=limit.key, failed_at=now).pk for limit in limits]
    for limit, own in zip(limits, made, strict=True):
        others = Attempt.objects.filter(key=limit.key).exclude(pk=own)
        failures = list(others.order_by("-failed_at").values_list("failed_at", flat=True)[: limit.most])
        if len(failures) == limit.most:
            Attempt.objects.filter(pk__in=made).delete()
            raise TooManyAttempts(_sentence(failures[-1] + WINDOW - now))
    return made


def forgive(made: Sequence[int], key: str) -> None:
    """After a success: the attempt itself does not count, nor do the account's earlier failures (those of `key`)."""
    Attempt.objects.filter(pk__in=made).delete()
    Attempt.objects.filter(key=key).delete()


def _sentence(wait: timedelta) -> str:
    minutes = max(1, -(-int(wait.total_seconds()) // 60))
    unit = "minute" if minutes == 1 else "minutes"
    return f"Too many attempts failed; wait {minutes} {unit} and try again (nothing is locked for good)."
