"""Starting a campaign over HTTP, by a program that holds a campaign token of an operator's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from governance import actions
from governance.actors import Actor
from governance.audit.campaign_tokens import starter
from governance.audit.log import Facts
from governance.digests import json_digest
from governance.errors import GovernanceError, NotAllowed
from governance.models import AuditEntry, Task
from loop import campaigns
from loop.agents.backends import default_profile, get_backend
from loop.contract import LEVERS, Budgets
from loop.errors import LoopError, ProviderError
from loop.models import Campaign

MOST_BODY = 64 * 1024
KEY_HEADER = "Idempotency-Key"
NUMBERS = {"generations": int, "hidden_queries": int, "tokens": int, "wall_s": float, "cost_usd": float}
FIELDS = {"task", "profile", "seed", "levers", "cache", *NUMBERS}


class BadRequest(Exception):
    """The request is malformed; the message says how."""


@csrf_exempt  # a token is sent on purpose, never by a browser on its own
@require_POST
def start_campaign(request: HttpRequest) -> HttpResponse:
    """Start a campaign on behalf of the token's person: 201, or 200 when this key has started it before.

    The body is JSON: `task`, and whatever of profile, seed, levers, cache and the budgets differs from the defaults.
    400 malformed, 401 no such token, 403 expired or its person may not, 404 no such task, 409 refused by a rule, each
    with one sentence in `error`.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        known = starter(token.strip(), timezone.now()) if scheme.lower() == "bearer" else None
    except NotAllowed as refusal:
        return _refused(str(refusal), 403)
    if known is None:
        return _refused("Send a campaign token that is in use (Authorization: Bearer ...).", 401)
    by, person = known
    try:
        body = _body(request)
        asked = campaigns.Request(person.ref, f"{by.ref}:{_key(request)}", json_digest(body))
        wish = _wish(body)
    except (BadRequest, ProviderError) as error:
        return _refused(str(error), 400)
    task = Task.objects.filter(slug=body["task"]).first()
    if task is None:
        return _refused(f"Task {body['task']!r} is not installed.", 404)
    return _started(asked) or _start(task, wish, by, asked)


def _start(task: Task, wish: campaigns.Wish, by: Actor, asked: campaigns.Request) -> HttpResponse:
    try:
        with transaction.atomic():
            campaign = campaigns.start(task, wish, by, asked)
    except IntegrityError:  # a twin of this request, or another campaign on the task, was faster
        return _started(asked) or _refused(f"A campaign on {task.slug} is already running.", 409)
    except (GovernanceError, LoopError) as refusal:
        if twin := _started(asked):
            return twin
        _note_refusal(task, by, asked, str(refusal))
        return _refused(str(refusal), 409)
    return _shown(campaign, 201)


def _started(asked: campaigns.Request) -> HttpResponse | None:
    """The answer for a key that was used before; None for a new one."""
    campaign = Campaign.objects.select_related("task").filter(request_key=asked.key).first()
    if campaign is None:
        return None
    if campaign.request_digest != asked.digest:
        return _refused(f"This {KEY_HEADER} started another campaign ({campaign.ref}); draw a new one.", 409)
    return _shown(campaign, 200)


def _body(request: HttpRequest) -> dict[str, Any]:
    if len(request.body) > MOST_BODY:
        raise BadRequest(f"The body is larger than {MOST_BODY} bytes.")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON ({error}).") from error
    if not isinstance(body, dict) or not isinstance(body.get("task"), str):
        raise BadRequest("The body is a JSON object with the `task` to run on.")
    if unknown := sorted(set(body) - FIELDS):
        raise BadRequest(f"{unknown[0]!r} is no field; the fields are {', '.join(sorted(FIELDS))}.")
    return body


def _key(request: HttpRequest) -> str:
    key = request.headers.get(KEY_HEADER, "")
    if not 8 <= len(key) <= 100 or not key.isascii() or not key.isprintable():
        raise BadRequest(
            f"Send {KEY_HEADER}: 8 to 100 printable ASCII characters that you draw for this campaign, "
            "the same when you try again."
        )
    return key


def _wish(body: Mapping[str, Any]) -> campaigns.Wish:
    """What is asked for. Raises BadRequest for a value that makes no sense, ProviderError for an unusable profile."""
    profile, seed = body.get("profile", default_profile()), body.get("seed", 0)
    levers, cache = body.get("levers", list(LEVERS)), body.get("cache", False)
    if not isinstance(profile, str):
        raise BadRequest("`profile` is the name of an agent profile.")
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise BadRequest("`seed` is a whole number from 0 on, below 2^31.")
    if not isinstance(levers, list) or not levers or any(lever not in LEVERS for lever in levers):
        raise BadRequest(f"`levers` is a list of one or both of {', '.join(LEVERS)}.")
    if not isinstance(cache, bool):
        raise BadRequest("`cache` is true or false.")
    get_backend(profile)
    return campaigns.Wish(profile, seed, tuple(levers), _budgets(body), cache)


def _budgets(body: Mapping[str, Any]) -> Budgets:
    given = {name: body[name] for name in NUMBERS if name in body}
    for name, value in given.items():
        kinds = (int,) if NUMBERS[name] is int else (int, float)
        if type(value) not in kinds or not 0 < value < 2**53:
            raise BadRequest(f"`{name}` is a {'whole ' if NUMBERS[name] is int else ''}number above 0.")
    return Budgets(**{**asdict(Budgets()), **given})


def _note_refusal(task: Task, by: Actor, asked: campaigns.Request, why: str) -> None:
    """Record that a rule refused this token a campaign: once for each reason, however often it is tried."""
    action, subject = "campaign.start", ("task", task.slug)
    rows = AuditEntry.objects.filter(action=action, actor=by.ref, outcome="denied", object_id=task.slug)
    last = rows.order_by("-seq").first()
    if last is None or last.entry()["reason"] != why:
        facts = Facts(outcome="denied", reason=why, task=task.slug, on_behalf_of=asked.person)
        actions.note_event(by=by, action=action, subject=subject, facts=facts)


def _shown(campaign: Campaign, status: int) -> JsonResponse:
    told = {
        "campaign": campaign.ref,
        "task": campaign.task.slug,
        "status": campaign.status,
        "contract": campaign.contract,
        "contract_digest": campaign.contract_digest,
        "page": f"/campaigns/{campaign.ref}/",
    }
    return JsonResponse(told, status=status)


def _refused(why: str, status: int) -> JsonResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JsonResponse({"error": why}, status=status, headers=headers)
