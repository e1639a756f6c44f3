"""Witnesses: others who keep each checkpoint, so that a rewritten log cannot be shown to everybody.

`witnesses.toml` in the data home names them, each a table [[witness]] with a `name` and a `kind`:

    c2sp     url, key         a C2SP tlog-witness (`manage.py witness` is one); its cosignature goes into exports
    git      folder, push     each checkpoint is a commit in this repository, pushed when `push = true`
    webhook  url, secret_file a POST of JSON, signed with HMAC-SHA256 in the header Pawl-Signature
    mail     to               one mail a checkpoint, by Django's mail settings

A witness that fails stops nothing: the failure is kept, shown at the desk, and is an entry when it begins and ends.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone

from governance.actors import Actor
from governance.audit.checkpoints import latest
from governance.audit.log import Facts, record
from governance.audit.notes import ALGORITHM_COSIGNATURE, SIGNATURE_MARK, encode64, parse_key, signers_of
from governance.audit.stored_tree import StoredTree
from governance.errors import AuditError
from governance.models import Checkpoint, Witnessing

WITNESSES = Actor("system", "witnesses")
TIMEOUT_S = 5.0
GIT_S = 30.0
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
    """One witness, one checkpoint; whatever goes wrong is the answer."""
    try:
        ok, answer = True, KINDS[config["kind"]](checkpoint, config)
    except (OSError, ValueError, KeyError, TypeError, AuditError, httpx.HTTPError, httpx.InvalidURL,
            subprocess.SubprocessError) as error:  # fmt: skip
        ok, answer = False, " ".join(str(error).split())[:500] or type(error).__name__
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


def _c2sp(checkpoint: Checkpoint, config: Config) -> str:
    """The witness's signature lines, checked. A witness that knows another size says so and is asked again."""
    key = parse_key(config["key"], ALGORITHM_COSIGNATURE)
    rows = Witnessing.objects.filter(witness=config["name"], ok=True).order_by("-size")
    old = rows.values_list("size", flat=True).first() or 0
    answer = _add_checkpoint(checkpoint, config["url"], old)
    if answer.status_code == 409 and answer.text.strip().isdecimal() and int(answer.text) <= checkpoint.size:
        answer = _add_checkpoint(checkpoint, config["url"], int(answer.text))
    if answer.status_code != 200:
        raise AuditError(f"The witness answered {answer.status_code}: {answer.text.strip()[:200]}")
    lines = answer.text
    if key not in signers_of(checkpoint.note.encode() + lines.encode(), [key])[1]:
        raise AuditError("The witness answered without its signature.")
    return lines


def _add_checkpoint(checkpoint: Checkpoint, url: str, old: int) -> httpx.Response:
    proof = StoredTree(checkpoint.size).consistency_proof(old)
    lines = "".join(f"{encode64(value)}\n" for value in proof)
    body = f"old {old}\n{lines}\n{checkpoint.note}".encode()
    return httpx.post(f"{url.rstrip('/')}/add-checkpoint", content=body, timeout=TIMEOUT_S)


def _git(checkpoint: Checkpoint, config: Config) -> str:
    """Append the checkpoint to `checkpoints` and commit it; push when asked to."""
    folder = Path(config["folder"])

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=GIT_S, check=False
        )
        if done.returncode:
            raise AuditError(f"git {args[0]} in {folder}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    path = folder / "checkpoints"
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    if checkpoint.note not in known:
        path.write_text(f"{known}{checkpoint.note}\n", encoding="utf-8")
    git("add", "checkpoints")
    if git("status", "--porcelain", "checkpoints"):
        who = ("-c", "user.name=Pawl", "-c", "user.email=pawl@localhost")
        git(*who, "commit", "-q", "-m", f"Checkpoint at {checkpoint.size} entries", "--", "checkpoints")
    if config.get("push"):
        git("push", "-q")
    return f"commit {git('rev-parse', 'HEAD')}"


def _webhook(checkpoint: Checkpoint, config: Config) -> str:
    body = json.dumps({"size": checkpoint.size, "root": checkpoint.root, "note": checkpoint.note}).encode()
    headers = {"Content-Type": "application/json"}
    if file := config.get("secret_file"):
        secret = Path(file).read_bytes().strip()
        headers["Pawl-Signature"] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    answer = httpx.post(config["url"], content=body, headers=headers, timeout=TIMEOUT_S)
    if not answer.is_success:
        raise AuditError(f"The webhook answered {answer.status_code}.")
    return f"answered {answer.status_code}"


def _mail(checkpoint: Checkpoint, config: Config) -> str:
    subject = f"Pawl checkpoint at {checkpoint.size} entries"
    if not send_mail(subject, checkpoint.note, None, [config["to"]]):
        raise AuditError(f"No mail went out to {config['to']}.")
    return f"mailed to {config['to']}"


KINDS: Mapping[str, Callable[[Checkpoint, Config], str]] = {
    "c2sp": _c2sp,
    "git": _git,
    "webhook": _webhook,
    "mail": _mail,
}
