"""Values of the gateway: where calls go, what they may cost, and the refusals a harness can meet."""

from __future__ import annotations

from dataclasses import dataclass, field

from loop.errors import ProviderError
from loop.prices import Prices

TASK_MODEL = "task-model"
RUN_ENDED = 499  # a call that the end of its run cut off: no outage of the model


@dataclass(frozen=True, slots=True)
class Upstream:
    """An OpenAI-compatible endpoint that answers for `task-model`.

    `base_url` ends before `/chat/completions` (usually in `/v1`; added when it has no path); `uds` is the
    path of a unix socket to use instead of TCP. `max_tokens_field` is what the endpoint calls the completion's
    length. `base_model` and `adapter_digest` are the digests of what we serve ourselves ("" for a provider's
    model); they label the recorded calls. Raises ProviderError when a field makes no sense.
    """

    base_url: str
    served_model: str
    api_key: str = field(default="", repr=False)
    api: str = "openai"
    uds: str | None = None
    prices: Prices = field(default_factory=Prices)
    base_model: str = ""
    adapter_digest: str = ""
    max_tokens_field: str = "max_tokens"

    def __post_init__(self) -> None:
        if self.api != "openai":
            raise ProviderError(
                f"The gateway speaks to OpenAI-compatible upstreams only, not {self.api!r}; put one in front."
            )
        if not self.base_url.startswith(("http://", "https://")):
            raise ProviderError(
                f"The upstream address {self.base_url!r} must start with http:// or https://."
            )


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What one run may spend. Sizes in bytes, times in seconds, `max_cost_usd=None` for no money limit.

    `deadline_s` bounds one call with all its retries. `max_in_flight` bounds the calls that wait for the model at
    once, `max_connections` the open connections. `max_recorded_bytes` bounds the whole trajectory.
    """

    max_calls: int = 20_000
    max_tokens: int = 50_000_000
    max_cost_usd: float | None = None
    max_completion_tokens: int = 4096
    max_body_bytes: int = 2 * 2**20
    max_in_flight: int = 32
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
