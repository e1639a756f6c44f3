"""Values that cross boundaries inside the loop. Frozen, without behaviour, without Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    """What became of one rollout. Only `OK` can carry a score."""

    OK = "ok"
    HARNESS_FAILED = "harness_failed"
    TIMEOUT = "timeout"
    LIMIT = "limit"
    OUTPUT_REJECTED = "output_rejected"
    SANDBOX_ERROR = "sandbox_error"


class Lever(StrEnum):
    """What a Feedback-Agent may decide to do with one generation."""

    HARNESS = "harness"
    WEIGHTS = "weights"
    STOP = "stop"
    EVALUATOR = "evaluator"


@dataclass(frozen=True, slots=True)
class Limits:
    """Resource limits of one sandboxed run; sizes in MiB unless the name says otherwise."""

    wall_s: float = 60.0
    cpu_s: int = 60
    processes: int = 64
    memory_mib: int = 768
    address_space_mib: int = 4096
    scratch_mib: int = 64
    shm_mib: int = 32
    out_mib: int = 32
    out_files: int = 64
    file_mib: int = 32
    open_files: int = 256
    log_kib: int = 256
    log_kill_mib: int = 16


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run consumed. `None` means it was not measured, never zero."""

    wall_s: float | None = None
    cpu_s: float | None = None
    peak_mib: float | None = None
    processes: int | None = None
    model_calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Mount:
    """A read-only bind of a host path into the sandbox."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One regular file collected from /out after the run was dead."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One program to run: argv inside, what it sees, what may come out.

    `outputs` names the files that are collected from /out (the trusted side names them; anything else
    there is ignored, a missing one is simply absent from the result). `runtime` is a built runtime
    (see loop.runtimes), mounted at /venv, or None for the bare interpreter. `socket` is a unix socket
    that is bound read-only at /run/llm.sock. `devices` are device nodes of a GPU, by their full names.
    """

    argv: tuple[str, ...]
    mounts: tuple[Mount, ...]
    outputs: tuple[str, ...]
    limits: Limits = Limits()
    env: Mapping[str, str] = field(default_factory=dict)
    runtime: Path | None = None
    socket: Path | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxResult:
    """What came out of a sandboxed run. `log_tail` is the log's beginning and end (see loop.sandbox.logs): untrusted
    text with control characters escaped."""

    outcome: Outcome
    reason: str
    exit_code: int | None
    log_tail: str
    usage: Usage
    outputs: tuple[OutputFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a sandbox backend works here, and which guarantees it can give."""

    backend: str
    ok: bool
    detail: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One metered call through the gateway: a step of the trajectory. Costs in US dollars.

    `served_model` is the name asked for upstream, `reported_model` the one that the upstream says it answered with;
    `base_model` and `adapter_digest` are the digests of what we serve ourselves. `source` is provider, cache or
    record. `reserved_tokens` are those of attempts that broke off: they were charged at their reserve, and their
    cost is in `cost_usd`.
    """

    index: int
    api: str
    model: str
    served_model: str
    request: Mapping[str, Any]
    reply: Mapping[str, Any] | None
    status: int
    error: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    latency_ms: float
    item_id: str | None = None
    base_model: str = ""
    adapter_digest: str = ""
    reported_model: str = ""
    source: str = "provider"
    attempts: int = 1
    reserved_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """What an evaluator said of one set of outputs: per-item scores and declared metrics, all finite."""

    value: float
    items: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Landscape:
    """How rewards lie on the task at the current harness and weights, from >= 8 samples a prompt.

    p: mean success in [0, 1]; z: share of prompt groups whose rewards have zero variance.
    """

    p: float
    z: float
    prompts: int
    samples_per_prompt: int
    binary: bool = True
    turns: int = 1
    goal: str = "mean"


@dataclass(frozen=True, slots=True)
class Decision:
    """What an agent chose for a generation, with its reasons.

    For `HARNESS`, `files` maps a path of the harness tree to its new text, or to None for a removal.
    For `WEIGHTS`, `algorithm` and `hyper` are what the agent asks for; once decided, all that the job runs with.
    """

    lever: Lever
    reason: str
    files: Mapping[str, str | None] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = ""
    hyper: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentCallRecord:
    """One exchange between Pawl and an agent's model, kept with the generation."""

    role: str
    model: str
    request: Mapping[str, Any]
    reply: Mapping[str, Any] | None
    error: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost_usd: float
    seconds: float
