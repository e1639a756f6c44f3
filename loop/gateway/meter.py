"""The budget of one run: the worst case of a call is reserved before it is made and settled after it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from loop.gateway.types import RUN_ENDED, CallRefused, GatewayLimits
from loop.prices import Prices


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one attempt may cost at most: tokens, and US dollars."""

    tokens: int
    cost_usd: float


class Meter:
    """Counts calls, tokens and money of one run; safe between threads.

    A reservation that does not fit only because others are in flight waits for them; one that cannot fit
    any more is refused, and `limit_hit` then says which budget is spent.
    """

    def __init__(self, limits: GatewayLimits, prices: Prices) -> None:
        self._limits = limits
        self._prices = prices
        self._changed = threading.Condition()
        self._closed = False
        self._reserved_tokens = 0
        self._reserved_cost = 0.0
        self._recorded_bytes = 0
        self._in_flight = 0
        self.calls = 0
        self.tokens = 0
        self.cost_usd = 0.0
        self.limit_hit = ""

    def admit(self) -> int:
        """The index of a new call, which `leave` ends. Raises CallRefused (429): too many at once, or in all."""
        with self._changed:
            if self._in_flight >= self._limits.max_in_flight:
                sentence = f"More than {self._limits.max_in_flight} model calls at once; wait for one to end."
                raise CallRefused(429, sentence, final=False)
            if self.calls >= self._limits.max_calls:
                raise self._spent(429, f"The run's {self._limits.max_calls} model calls are used up.")
            self.calls += 1
            self._in_flight += 1
            return self.calls - 1

    def leave(self) -> None:
        """A call has ended."""
        with self._changed:
            self._in_flight -= 1

    def reserve(self, prompt_bytes: int, completion_tokens: int, deadline: float) -> Reservation:
        """Set aside the worst case of one attempt; `deadline` is on the monotonic clock.

        A token covers at least one byte of the request, so its size bounds the prompt's tokens. Raises
        CallRefused: 402 for money, 429 for tokens or when calls in flight held the budget up to the deadline, 499
        when the run ended.
        """
        prompt_tokens = prompt_bytes + 256
        need = Reservation(
            prompt_tokens + completion_tokens, self._prices.worst(prompt_tokens, completion_tokens)
        )
        with self._changed:
            while not self._fits(need):
                left = deadline - time.monotonic()
                if not self._closed and (left <= 0 or not self._changed.wait(left)):
                    sentence = "The budget is held by other calls in flight; ask again when they have ended."
                    raise CallRefused(429, sentence, final=False)
                if self._closed:
                    raise CallRefused(RUN_ENDED, "The run ended before the model was asked.")
            self._reserved_tokens += need.tokens
            self._reserved_cost += need.cost_usd
        return need

    def settle(self, held: Reservation, tokens: int, cost_usd: float) -> None:
        """Give a reservation back and charge what was really used."""
        with self._changed:
            self._reserved_tokens -= held.tokens
            self._reserved_cost = self._reserved_cost - held.cost_usd if self._reserved_tokens else 0.0
            self.tokens += tokens
            self.cost_usd += cost_usd
            self._changed.notify_all()

    def keep(self, size: int) -> None:
        """Account for `size` bytes of trajectory. Raises CallRefused (413) when the run recorded too much."""
        with self._changed:
            if self._recorded_bytes + size > self._limits.max_recorded_bytes:
                raise self._spent(413, f"The run's trajectory is full ({self._limits.max_recorded_bytes} B).")
            self._recorded_bytes += size

    def note_refusal(self, sentence: str) -> None:
        """A recorded run was refused here for its budget."""
        with self._changed:
            self.limit_hit = self.limit_hit or sentence

    def count(self, size: int) -> None:
        """Account for `size` bytes of trajectory that are there already."""
        with self._changed:
            self._recorded_bytes += size

    def close(self) -> None:
        """Wake and refuse everything that waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, need: Reservation) -> bool:
        money = self._limits.max_cost_usd
        if self.tokens + need.tokens > self._limits.max_tokens:
            raise self._spent(
                429,
                f"The run's token budget is spent: {self.tokens} of {self._limits.max_tokens} used and this "
                f"call may need {need.tokens}.",
            )
        if money is not None and self.cost_usd + need.cost_usd > money:
            raise self._spent(
                402,
                f"The run's money budget is spent: {self.cost_usd:.4f} of {money:.4f} USD used and this call "
                f"may cost {need.cost_usd:.4f}.",
            )
        tokens_fit = self.tokens + self._reserved_tokens + need.tokens <= self._limits.max_tokens
        return tokens_fit and (money is None or self.cost_usd + self._reserved_cost + need.cost_usd <= money)

    def _spent(self, status: int, sentence: str) -> CallRefused:
        self.limit_hit = self.limit_hit or sentence
        return CallRefused(status, sentence)
