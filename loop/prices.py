"""What a model costs. The price tables are the providers' files, loop/agents/providers/*.toml; this is one entry."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loop.errors import ProviderError


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens; zero for a model that we serve ourselves.

    Tokens that a provider's prompt cache served or took have prices of their own; None means those of the input.
    Raises ProviderError for a price that is negative or not finite.
    """

    input: float = 0.0
    output: float = 0.0
    cache_read: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        for price in (self.input, self.output, *self._cached()):
            if not math.isfinite(price) or price < 0:
                raise ProviderError(f"A price of {price} USD per million tokens is impossible; correct it.")

    def cost(self, *, fresh: int, output: int, cache_read: int = 0, cache_write: int = 0) -> float:
        """US dollars of one exchange; `fresh` are prompt tokens that the cache neither served nor took."""
        read, write = self._cached()
        total = fresh * self.input + output * self.output
        return (total + cache_read * read + cache_write * write) / 1e6

    def worst(self, prompt: int, output: int) -> float:
        """The most that an exchange of so many tokens can cost, whatever the provider's cache does."""
        return (prompt * max(self.input, *self._cached()) + output * self.output) / 1e6

    def _cached(self) -> tuple[float, float]:
        read = self.input if self.cache_read is None else self.cache_read
        return read, self.input if self.cache_write is None else self.cache_write
