"""One act of a campaign under its lease: derive what is due, do it, say what must be queued next."""

from __future__ import annotations

from django.db import transaction

from governance.errors import GovernanceError
from loop import campaigns, submission
from loop.agents.backends import get_backend
from loop.campaigns import Act, Next
from loop.contract import Contract
from loop.errors import Fenced, LoopError
from loop.generation import run_step
from loop.installed import open_task
from loop.leases import Lease, held
from loop.models import Campaign, Generation, TrainingJob
from loop.turn import Turn

Queued = tuple[str, str, str | int]


def advance_once(campaign: Campaign) -> list[Queued]:
    """Do one act and return the jobs to queue; nothing when another worker holds the campaign or it has ended."""
    with held(Campaign, campaign.pk) as lease:
        if lease is None:
            return []
        campaign.refresh_from_db()
        if campaign.status != Campaign.Status.RUNNING:
            return []
        try:
            return _act(campaign, lease)
        except Fenced:
            return []
        except (LoopError, GovernanceError) as error:
            _finish(campaign, lease, Next(Act.FINISH, str(error), status=Campaign.Status.FAILED))
            return []


def _act(campaign: Campaign, lease: Lease) -> list[Queued]:
    again: list[Queued] = [("loop", "advance", campaign.ref)]
    due = campaigns.next_act(campaign)
    if due.act is Act.STEP:
        assert due.generation is not None
        if run_step(_turn(campaign, due.generation, lease)):
            return [("train", "train", TrainingJob.objects.get(generation=due.generation).pk)]
        return again
    if due.act is Act.BEGIN:
        with lease.commit():
            campaigns.begin_generation(campaign)
        return again
    if due.act is Act.SUBMIT:
        last = campaign.generations.order_by("number").last()
        assert last is not None
        return [("verify", "verify", submission.submit(_turn(campaign, last, lease)).pk)]
    if due.act is Act.FINISH:
        _finish(campaign, lease, due)
    return []


def _finish(campaign: Campaign, lease: Lease, outcome: Next) -> None:
    with lease.commit(), transaction.atomic():
        campaigns.finish(campaign, outcome)


def _turn(campaign: Campaign, generation: Generation, lease: Lease) -> Turn:
    contract = Contract.from_json(campaign.contract)
    task = open_task(campaign.task)
    if task.evaluator.digest != contract.evaluator:
        raise LoopError(
            "The evaluator changed since the campaign began and scores of two epochs are never compared; start a new "
            "campaign under the new one."
        )
    return Turn(campaign, generation, contract, task, get_backend(campaign.profile), lease)
