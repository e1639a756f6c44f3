"""How each kind of witness is told of a checkpoint: over C2SP, git, a webhook or mail."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from django.core.mail import send_mail

from governance.audit.notes import ALGORITHM_COSIGNATURE, encode64, parse_key, signers_of
from governance.audit.stored_tree import StoredTree
from governance.errors import AuditError
from governance.models import Checkpoint, Witnessing

if TYPE_CHECKING:
    from governance.assurance.witnesses import Config

TIMEOUT_S = 5.0
GIT_S = 30.0


def hand_over(checkpoint: Checkpoint, config: Config) -> tuple[bool, str]:
    """Whether this witness took the checkpoint, and what it answered; whatever goes wrong is the answer."""
    try:
        return True, KINDS[config["kind"]](checkpoint, config)
    except (OSError, ValueError, KeyError, TypeError, AuditError, httpx.HTTPError, httpx.InvalidURL,
            subprocess.SubprocessError) as error:  # fmt: skip
        return False, " ".join(str(error).split())[:500] or type(error).__name__


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
