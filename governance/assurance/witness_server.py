"""A small C2SP tlog-witness: run it where the operator of the log has no say, and pin its key.

It answers POST /add-checkpoint. It keeps, for each log that it is told to watch, the size and root that it cosigned
last; it cosigns a checkpoint only when the log's key signed it and a consistency proof ties it to that memory. So two
different histories can never both carry its signature. Needs no Django and no database.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.audit.notes import (
    ALGORITHM_COSIGNATURE,
    NoteError,
    TreeHead,
    VerifierKey,
    cosigned_text,
    decode64,
    encode64,
    make_key,
    parse_checkpoint,
    parse_key,
    signature_line,
    signers_of,
)
from governance.audit.signer import locked, put_private
from governance.audit.tree import EMPTY_ROOT, verify_consistency
from governance.errors import AuditError

KEY_FILE = "witness.key"
MAX_BODY = 64 * 1024
MAX_PROOF = 63
TEXT, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, body and its media type."""

    status: int
    body: str
    kind: str = TEXT


@dataclass(frozen=True)
class WitnessConfig:
    """The witness's name, its private folder (key and memory), where it listens, and the keys of its logs."""

    name: str
    state: Path
    host: str
    port: int
    logs: tuple[VerifierKey, ...]


def load_config(path: Path) -> WitnessConfig:
    """Read the witness's TOML file. Raises AuditError with one sentence for what is wrong."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        host, _, port = str(raw.get("listen", "127.0.0.1:8200")).rpartition(":")
        logs = tuple(parse_key(text) for text in raw.get("logs", []))
        return WitnessConfig(str(raw["name"]), Path(raw["state"]), host, int(port), logs)
    except KeyError as error:
        raise AuditError(f"{path} lacks {error}; it needs name, state and logs.") from error
    except (OSError, ValueError, TypeError) as error:
        raise AuditError(f"{path} cannot be used: {error}.") from error


class Witness:
    """A witness's key and memory in one private folder."""

    def __init__(self, config: WitnessConfig) -> None:
        """Use the folder; the key is made on first use."""
        self._config = config
        path = config.state / KEY_FILE
        with locked(config.state / "lock"):
            if not path.exists():
                put_private(path, encode64(Ed25519PrivateKey.generate().private_bytes_raw()) + "\n")
        if path.stat().st_mode & 0o077:
            raise AuditError(f"{path} can be read by others; run chmod 600 on it, or make a new key.")
        try:
            self._secret = Ed25519PrivateKey.from_private_bytes(decode64(path.read_text().strip()))
            self.key = make_key(
                config.name, self._secret.public_key().public_bytes_raw(), ALGORITHM_COSIGNATURE
            )
        except ValueError as error:
            raise AuditError(f"The witness's key {path} cannot be used: {error}.") from error

    def add_checkpoint(self, body: bytes, now: int) -> Answer:
        """The answer to one add-checkpoint request at Unix time `now`, as C2SP tlog-witness says."""
        try:
            old, proof, note = _parse(body)
            claimed = parse_checkpoint(note.decode().rpartition("\n\n")[0] + "\n")
        except (NoteError, ValueError) as error:
            return Answer(400, f"malformed: {error}\n")
        keys = [key for key in self._config.logs if key.name == claimed.origin]
        if not keys:
            return Answer(404, "this log is not watched here\n")
        try:
            text, signers = signers_of(note, keys)
        except NoteError as error:
            return Answer(403, f"{error}\n")
        if not signers:
            return Answer(403, "no known key of this log signed it\n")
        if old > claimed.size:
            return Answer(400, "the old size is beyond the checkpoint\n")
        with locked(self._config.state / "lock"):
            return self._cosign(claimed, text, old, proof, now)

    def _cosign(self, head: TreeHead, text: str, old: int, proof: Sequence[bytes], now: int) -> Answer:
        last = self._last(head.origin)
        if old != last.size:
            return Answer(409, f"{last.size}\n", SIZE)
        if old == head.size and last.root != head.root:
            return Answer(409, f"{last.size}\n", SIZE)
        if not verify_consistency(old, head.size, proof, last.root, head.root):
            return Answer(422, "the proof does not tie this checkpoint to the last one\n")
        state = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
        put_private(self._state(head.origin), json.dumps(state) + "\n")
        signature = self._secret.sign(cosigned_text(now, text).encode())
        return Answer(200, signature_line(self.key, now.to_bytes(8, "big") + signature))

    def _last(self, origin: str) -> TreeHead:
        """What was cosigned last for this log. Raises AuditError when that is damaged."""
        path = self._state(origin)
        if not path.exists():
            return TreeHead(origin, 0, EMPTY_ROOT)
        try:
            state = json.loads(path.read_bytes())
            return TreeHead(origin, int(state["size"]), bytes.fromhex(state["root"]))
        except (ValueError, KeyError, TypeError) as error:
            raise AuditError(f"The witness's memory {path} is damaged ({error}); restore it.") from error

    def _state(self, origin: str) -> Path:
        return self._config.state / f"{sha256(origin.encode()).hexdigest()}.json"


def make_server(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """The HTTP server of a witness, listening; call serve_forever."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_BODY:
                answer, self.close_connection = Answer(413, "too large\n"), True
            elif self.path.rpartition("/")[2] != "add-checkpoint":
                answer, self.close_connection = Answer(404, "there is add-checkpoint only\n"), True
            else:
                answer = self._answer(self.rfile.read(int(length)))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            data = answer.body.encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _answer(self, body: bytes) -> Answer:
            try:
                return witness.add_checkpoint(body, int(time.time()))
            except (AuditError, OSError) as error:
                self.log_error("%s", error)
                return Answer(500, "the witness cannot sign now\n")

        def log_message(self, form: str, *args: object) -> None:
            """Say nothing of what goes well."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    return server


def _parse(body: bytes) -> tuple[int, list[bytes], bytes]:
    """Old size, proof and note of a request. Raises ValueError for anything else."""
    top, blank, note = body.partition(b"\n\n")
    first, *rest = top.decode("ascii").split("\n")
    number = first.removeprefix("old ")
    if not blank or not first.startswith("old ") or not number.isdecimal() or str(int(number)) != number:
        raise ValueError("it begins with `old SIZE`, the proof's lines and an empty line")
    if len(rest) > MAX_PROOF:
        raise ValueError(f"at most {MAX_PROOF} lines of proof")
    return int(number), [decode64(line) for line in rest], note
