"""Values of the gateway: where calls go, what they may cost, and the refusals a harness can meet."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from loop.errors import ProviderError

TASK_MODEL = "task-model"


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens; zero for a model that we serve ourselves."""

    input: float = 0.0
    output: float = 0.0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost in US dollars of one call."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Upstream:
    """An OpenAI-compatible endpoint that answers for `task-model`.

    `base_url` ends before `/chat/completions` (usually in `/v1`; added when it has no path); `uds` is the
    path of a unix socket to use instead of TCP. `adapter_digest` only labels the recorded calls. Raises
    ProviderError when a field makes no sense.
    """

    base_url: str
    served_model: str
    api_key: str = field(default="", repr=False)
    api: str = "openai"
    uds: str | None = None
    prices: Prices = Prices()
    adapter_digest: str = ""

    def __post_init__(self) -> None:
        if self.api != "openai":
            raise ProviderError(
                f"The gateway speaks to OpenAI-compatible upstreams only, not {self.api!r}; put one in front."
            )
        if not self.base_url.startswith(("http://", "https://")):
            raise ProviderError(
                f"The upstream address {self.base_url!r} must start with http:// or https://."
            )
        for price in (self.prices.input, self.prices.output):
            if not math.isfinite(price) or price < 0:
                raise ProviderError(f"A price of {price} USD per million tokens is impossible; correct it.")


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What one run may spend. Sizes in bytes, times in seconds, `max_cost_usd=None` for no money limit.

    `deadline_s` bounds one call with all its retries. `max_recorded_bytes` bounds the whole trajectory.
    """

    max_calls: int = 20_000
    max_tokens: int = 50_000_000
    max_cost_usd: float | None = None
    max_completion_tokens: int = 4096
    max_body_bytes: int = 2 * 2**20
    max_connections: int = 64
    deadline_s: float = 120.0
    max_recorded_bytes: int = 256 * 2**20


class CallRefused(Exception):
    """A call that is answered with an error status; the message is the sentence the harness reads.

    `final` tells ordinary SDKs not to try again.
    """

    def __init__(self, status: int, sentence: str, *, final: bool = True) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.final = final
