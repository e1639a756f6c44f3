"""A clock that the test sets: what the service reads as the time now, in the rules, the rows and the log alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from unittest.mock import patch

START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Clock:
    """The time now, in whole seconds; it goes on only when told to."""

    def __init__(self) -> None:
        """Begin at START."""
        self.now = START

    def forward(self, **passed: float) -> None:
        """Let time pass, in a timedelta's arguments."""
        self.now += timedelta(**passed)

    @contextmanager
    def rules(self) -> Iterator[None]:
        """Make it the clock of Django (defaults of rows included) and of the log while the block runs."""
        clock = self

        class Frozen(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return clock.now.astimezone(tz)

        with patch("django.utils.timezone.datetime", Frozen), patch("governance.audit.log.datetime", Frozen):
            yield
