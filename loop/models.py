"""Tables of the loop: campaigns, generations, rollouts, trajectories. Nothing here decides what is live."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from governance.models import DIGEST, Proposal, Release, Task, Version


class Preflight(models.Model):
    """One examination of a task: green only if every check passed. A campaign names the one that it rests on.

    `digests` names what was examined (task folder, evaluator, runtime, base model, seed harness, sandbox backend) and
    `digest` is theirs. `hidden` holds the verifier's half of the checks, None until it has answered.
    """

    ref = models.CharField(max_length=36, unique=True)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="preflights")
    digests = models.JSONField()
    digest = models.CharField(max_length=DIGEST)
    green = models.BooleanField(default=False)
    checks = models.JSONField(default=list)
    hidden = models.JSONField(null=True, blank=True)
    run_by = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(green=False) | Q(finished_at__isnull=False), name="green_preflight_is_finished"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task.slug} preflight {self.ref[:8]}"


class Campaign(models.Model):
    """One run of the loop on a task, under a contract fixed before it starts.

    `fence` grows each time a worker takes the campaign; a step commits only while it still holds the fence.
    `lease_until` says how long the `holder` (host, process) may be presumed alive. `spent` sums cost_usd, tokens
    and wall_s. `request_key` names the HTTP request that started it (token and the client's own key), None for a
    person's; `request_digest` says what it asked for.
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"
        FINISHED = "finished"
        FAILED = "failed"

    ref = models.CharField(max_length=36, unique=True)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="campaigns")
    profile = models.CharField(max_length=64)
    seed = models.PositiveIntegerField(default=0)
    contract = models.JSONField()
    contract_digest = models.CharField(max_length=DIGEST)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    status_reason = models.TextField(blank=True)
    spent = models.JSONField(default=dict)
    base_release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    preflight = models.ForeignKey(
        Preflight, null=True, blank=True, on_delete=models.PROTECT, related_name="campaigns"
    )
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    holder = models.CharField(max_length=200, blank=True)
    started_by = models.CharField(max_length=64)
    request_key = models.CharField(max_length=150, null=True, blank=True, unique=True)
    request_digest = models.CharField(max_length=DIGEST, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["task"], condition=Q(status="running"), name="one_running_campaign_per_task"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task.slug} campaign {self.ref[:8]}"

    @property
    def task_slug(self) -> str:
        """The task that the stop switch knows it by."""
        return self.task.slug

    @property
    def epoch(self) -> str:
        """The digest of the evaluator that gives all of its scores."""
        return str(self.contract.get("evaluator", ""))


class Generation(models.Model):
    """One turn of the loop. Number 0 is the Meta-Agent's first harness and its baseline score.

    `step` is the next thing to do; it moves forward only, each move in one fenced transaction. `attempts` counts
    how often workers began it.
    Scores are public-val means in [0, 1] or the metric's own unit; None means unknown, never zero.
    """

    class Step(models.TextChoices):
        PREPARE = "prepare"
        ROLL_OUT = "roll_out"
        DECIDE = "decide"
        EDIT = "edit"
        TRAIN = "train"
        COMPARE = "compare"
        DONE = "done"

    class Verdict(models.TextChoices):
        OPEN = "open"
        BASELINE = "baseline"
        KEPT = "kept"
        DISCARDED = "discarded"
        FAILED = "failed"
        STOPPED = "stopped"

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="generations")
    number = models.PositiveIntegerField()
    step = models.CharField(max_length=16, choices=Step.choices, default=Step.PREPARE)
    verdict = models.CharField(max_length=16, choices=Verdict.choices, default=Verdict.OPEN)
    lever = models.CharField(max_length=16, blank=True)
    parent = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    candidate = models.ForeignKey(Release, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    decision = models.JSONField(default=dict)
    score_before = models.FloatField(null=True, blank=True)
    score_after = models.FloatField(null=True, blank=True)
    comparison = models.JSONField(default=dict)
    reason = models.TextField(blank=True)
    progress = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField(default=0)
    cost_usd = models.FloatField(default=0.0)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["campaign", "number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["campaign", "number"], name="one_generation_per_number"),
            models.CheckConstraint(
                condition=~Q(step="done") | ~Q(verdict="open"), name="done_generation_has_a_verdict"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.campaign} generation {self.number}"


class Rollout(models.Model):
    """One run of a release's harness on one split, with its score. `items` maps item id to score,
    `failures` a kind of failure to how many items failed by it.

    `key` names what was run (release, split, seed, evaluator): the same key is never run twice.
    """

    key = models.CharField(max_length=DIGEST, unique=True)
    campaign = models.ForeignKey(
        Campaign, null=True, blank=True, on_delete=models.PROTECT, related_name="rollouts"
    )
    generation = models.ForeignKey(
        Generation, null=True, blank=True, on_delete=models.PROTECT, related_name="rollouts"
    )
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="rollouts")
    split = models.CharField(max_length=32)
    seed = models.PositiveIntegerField()
    evaluator_digest = models.CharField(max_length=DIGEST)
    outcome = models.CharField(max_length=20)
    reason = models.TextField(blank=True)
    score = models.FloatField(null=True, blank=True)
    items = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    failures = models.JSONField(default=dict)
    usage = models.JSONField(default=dict)
    outputs = models.JSONField(default=list)
    provenance = models.JSONField(default=dict)
    log_tail = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.release} on {self.split}"


class Step(models.Model):
    """One step of a trajectory: a model call as the gateway saw it."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveIntegerField()
    kind = models.CharField(max_length=16, default="model_call")
    item_id = models.CharField(max_length=100, blank=True)
    body = models.JSONField()
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.FloatField(default=0.0)
    latency_ms = models.FloatField(default=0.0)

    class Meta:
        ordering: ClassVar[list[str]] = ["rollout", "index"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["rollout", "index"], name="one_step_per_index"),
        ]

    def __str__(self) -> str:
        return f"step {self.index} of {self.rollout}"


class AgentCall(models.Model):
    """One exchange with the model behind the Meta- or Feedback-Agent, whole."""

    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="agent_calls")
    index = models.PositiveIntegerField()
    role = models.CharField(max_length=16)
    model = models.CharField(max_length=100)
    request = models.JSONField()
    reply = models.JSONField(null=True)
    error = models.TextField(blank=True)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.FloatField(default=0.0)
    seconds = models.FloatField(default=0.0)

    class Meta:
        ordering: ClassVar[list[str]] = ["generation", "index"]

    def __str__(self) -> str:
        return f"{self.role} call {self.index} of {self.generation}"


class ArchiveEntry(models.Model):
    """A release that the campaign accepted, with its public-val score: where parents are chosen from."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="archive")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    generation = models.ForeignKey(Generation, on_delete=models.PROTECT, related_name="+")
    score = models.FloatField()
    submitted = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "archive entries"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["campaign", "release"], name="one_archive_entry_per_release"),
        ]

    def __str__(self) -> str:
        return f"{self.release} at {self.score:.3f}"


class TrainingJob(models.Model):
    """One weight update: the spec it ran, its live metrics and the adapter it made."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        FINISHED = "finished"
        FAILED = "failed"

    generation = models.OneToOneField(Generation, on_delete=models.PROTECT, related_name="training")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    algorithm = models.CharField(max_length=32)
    spec = models.JSONField(default=dict)
    metrics = models.JSONField(default=list)
    reason = models.TextField(blank=True)
    adapter = models.ForeignKey(Version, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    holder = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.algorithm} for {self.generation}"

    @property
    def task_slug(self) -> str:
        """The task that the stop switch knows it by."""
        return self.generation.campaign.task.slug


class HiddenQuery(models.Model):
    """One entry of the ledger of hidden-test queries. Append-only.

    `number` counts within the campaign; `place` within the hidden set (known by its commitment), over all campaigns.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="hidden_queries")
    number = models.PositiveIntegerField()
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    against = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    proposal = models.OneToOneField(Proposal, on_delete=models.PROTECT, related_name="hidden_query")
    alpha = models.FloatField()
    hidden_set = models.CharField(max_length=DIGEST)
    place = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "hidden queries"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["campaign", "number"], name="one_hidden_query_per_number"),
            models.UniqueConstraint(fields=["hidden_set", "place"], name="one_hidden_query_per_place"),
        ]

    def __str__(self) -> str:
        return f"hidden query {self.number} of {self.campaign}"


class Verification(models.Model):
    """The verifier's work on one hidden query: held by a fence, ended by one bit, or by an outage without one.

    `outages` counts the tries that the task model's outage voided; while WAITING the next one is due at `retry_at`.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"
        FINISHED = "finished"
        FAILED = "failed"
        OUTAGE = "outage"

    query = models.OneToOneField(HiddenQuery, on_delete=models.PROTECT, related_name="verification")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    bit = models.BooleanField(null=True, blank=True)
    reason = models.TextField(blank=True)
    outages = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    holder = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(status="waiting") ^ Q(retry_at__isnull=True),
                name="waiting_verification_says_until_when",
            ),
            models.CheckConstraint(
                condition=~Q(status="outage") | Q(bit__isnull=True), name="outage_gives_no_bit"
            ),
        ]

    def __str__(self) -> str:
        return f"verification of {self.query}"

    @property
    def task_slug(self) -> str:
        """The task that the stop switch knows it by."""
        return self.query.campaign.task.slug


class EvaluatorCheck(models.Model):
    """The verifier's work on one proposal for an evaluator: the live release on the hidden data under both.

    `rescored` is what was found on public-val when it was proposed.
    """

    proposal = models.OneToOneField(Proposal, on_delete=models.PROTECT, related_name="evaluator_check")
    rescored = models.JSONField()
    done = models.BooleanField(default=False)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    holder = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"hidden check of {self.proposal}"

    @property
    def task_slug(self) -> str:
        """The task that the stop switch knows it by."""
        return self.proposal.task.slug if self.proposal.task else ""
