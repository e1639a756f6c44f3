"""Witnesses: others who keep each checkpoint, so that a rewritten log cannot be shown to everybody.

`witnesses.toml` in the data home names them, each a table [[witness]] with a `name` and a `kind`:

    c2sp     url, key         a C2SP tlog-witness (`manage.py witness` is one); its cosignature goes into exports
    git      folder, push     each checkpoint is a commit in this repository, pushed when `push = true`
    webhook  url, secret_file a POST of JSON, signed with HMAC-SHA256 in the header Pawl-Signature
    mail     to               one mail a checkpoint, by Django's mail settings

A witness that fails stops nothing: the failure is kept, shown at the desk, and is an entry when it begins and ends.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.actors import Actor
from governance.audit.checkpoints import latest
from governance.audit.log import Facts, record
from governance.audit.notes import SIGNATURE_MARK
from governance.errors import AuditError
from governance.models import Checkpoint, Witnessing

WITNESSES = Actor("system", "witnesses")
FIELDS = {"c2sp": {"url", "key"}, "git": {"folder"}, "webhook": {"url"}, "mail": {"to"}}
Config = Mapping[str, Any]


def load_witnesses() -> list[Config]:
    """The witnesses of the data home's witnesses.toml; none without the file. Raises AuditError for a wrong one."""
    path = Path(settings.PAWL_HOME) / "witnesses.toml"
    if not path.exists():
        return []
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("witness", [])
        for config in found:
            lacking = {"name", "kind", *FIELDS.get(config.get("kind"), {"kind"})} - set(config)
            if lacking or config["kind"] not in FIELDS:
                raise ValueError(f"a witness lacks {', '.join(sorted(lacking)) or 'a known kind'}")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise AuditError(f"{path} cannot be used: {error}.") from error
    return list(found)


def witness_latest() -> list[Witnessing]:
    """Hand the newest checkpoint to every witness that does not have it yet; what they answered."""
    checkpoint = latest()
    if checkpoint is None:
        return []
    have = set(Witnessing.objects.filter(size=checkpoint.size, ok=True).values_list("witness", flat=True))
    return [_hand_over(checkpoint, config) for config in load_witnesses() if config["name"] not in have]


def witnessed_note(size: int | None = None) -> tuple[int, bytes] | None:
    """(size, note) of the newest checkpoint with cosignatures (or the one at `size`); None when there is none."""
    rows = Witnessing.objects.filter(ok=True, answer__startswith=SIGNATURE_MARK).order_by("-size", "witness")
    if size is None:
        size = rows.values_list("size", flat=True).first()
    if size is None:
        return None
    lines = "".join(rows.filter(size=size).values_list("answer", flat=True))
    note = Checkpoint.objects.filter(size=size).values_list("note", flat=True).first()
    return (size, (note + lines).encode()) if note and lines else None


def _hand_over(checkpoint: Checkpoint, config: Config) -> Witnessing:
    """One witness, one checkpoint: what it answered, as a row, and as an entry when that begins or ends to fail."""
    from governance.assurance.witness_kinds import hand_over  # here: it takes long, and few have witnesses

    ok, answer = hand_over(checkpoint, config)
    name = config["name"]
    with transaction.atomic():
        before = (
            Witnessing.objects.filter(witness=name).order_by("-size").values_list("ok", flat=True).first()
        )
        row, _ = Witnessing.objects.update_or_create(
            size=checkpoint.size, witness=name, defaults={"ok": ok, "answer": answer, "time": timezone.now()}
        )
        if before != ok:
            facts = Facts(outcome="allowed" if ok else "failed", reason="" if ok else answer)
            record(by=WITNESSES, action="audit.witness", subject=("witness", name), facts=facts)
    return row
