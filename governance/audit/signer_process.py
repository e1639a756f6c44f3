"""The signer as a process of its own: answers on a unix socket, under the user who alone can read the key.

    python -m governance.audit.signer_process --folder KEYS --socket PATH [--allow-uid N] [--create]

One request a connection: one JSON line {"call": name, "args": [...]} in, {"result": ...} or {"refused"|"error":
sentence} out; bytes travel as hex. The kernel says who calls; users that are not named are turned away. Started
without Django: it needs no settings and no database. SocketSigner is the other end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from governance.audit.lease import LoggedMove
from governance.audit.notes import TreeHead, VerifierKey, parse_key
from governance.audit.signer import FileSigner, SigningRefused
from governance.errors import AuditError

TIMEOUT_S = 10.0  # for each caller; the next one waits longer than that
PATIENCE_S = 30.0
MAX_LINE = 256 * 1024  # an entry (64 KiB) as hex, with its proof and a checkpoint


class SocketSigner:
    """The signer process as those see it who ask it to sign. Raises AuditError when it does not answer."""

    def __init__(self, path: Path) -> None:
        """Use the socket at `path`; nothing is sent yet."""
        self.path = path

    def key(self) -> VerifierKey:
        """The public key."""
        return parse_key(self._ask("key"))

    def last(self) -> TreeHead:
        """What was signed last."""
        origin, size, root = self._ask("last")
        return TreeHead(origin, size, bytes.fromhex(root))

    def check_ready(self) -> None:
        """Raises AuditError unless key and memory can be used and belong together."""
        self._ask("check_ready")

    def sign(self, size: int, root: bytes, proof: Sequence[bytes]) -> bytes:
        """The signed checkpoint. Raises SigningRefused for a log that did not grow out of what was signed."""
        return bytes.fromhex(self._ask("sign", size, root.hex(), [value.hex() for value in proof]))

    def sign_lease(self, move: LoggedMove, nonce: str, not_after: datetime) -> bytes:
        """The signed serving lease. Raises SigningRefused for what the signed log does not show."""
        path = [value.hex() for value in move.proof]
        told = (move.entry.hex(), move.index, path, move.checkpoint.hex(), nonce, not_after.isoformat())
        return bytes.fromhex(self._ask("sign_lease", *told))

    def prepare_rotation(self) -> bytes:
        """The note that hands over to a new key."""
        return bytes.fromhex(self._ask("prepare_rotation"))

    def finish_rotation(self, entry: bytes, index: int, proof: Sequence[bytes]) -> VerifierKey:
        """Change to the new key."""
        return parse_key(self._ask("finish_rotation", entry.hex(), index, [value.hex() for value in proof]))

    def _ask(self, call: str, *args: Any) -> Any:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(PATIENCE_S)
                link.connect(str(self.path))
                link.sendall(json.dumps({"call": call, "args": args}).encode() + b"\n")
                with link.makefile("rb") as stream:
                    answer = json.loads(stream.readline(MAX_LINE))
        except (OSError, ValueError) as error:
            raise AuditError(
                f"The log's signer does not answer at {self.path} ({error or 'no answer'}); start it again."
            ) from error
        if "refused" in answer:
            raise SigningRefused(answer["refused"])
        if "error" in answer:
            raise AuditError(answer["error"])
        return answer["result"]


def calls_of(signer: FileSigner) -> dict[str, Callable[..., Any]]:
    """What may be asked, with JSON in and JSON out."""

    def last() -> list[Any]:
        head = signer.last()
        return [head.origin, head.size, head.root.hex()]

    def sign(size: int, root: str, proof: list[str]) -> str:
        return signer.sign(int(size), bytes.fromhex(root), [bytes.fromhex(value) for value in proof]).hex()

    def sign_lease(entry: str, index: int, proof: list[str], note: str, nonce: str, ends: str) -> str:
        path = tuple(bytes.fromhex(value) for value in proof)
        move = LoggedMove(bytes.fromhex(entry), int(index), path, bytes.fromhex(note))
        return signer.sign_lease(move, nonce, datetime.fromisoformat(ends)).hex()

    def finish(entry: str, index: int, proof: list[str]) -> str:
        path = [bytes.fromhex(value) for value in proof]
        return str(signer.finish_rotation(bytes.fromhex(entry), int(index), path))

    return {
        "key": lambda: str(signer.key()),
        "last": last,
        "check_ready": signer.check_ready,
        "sign": sign,
        "sign_lease": sign_lease,
        "prepare_rotation": lambda: signer.prepare_rotation().hex(),
        "finish_rotation": finish,
    }


def answer_to(line: bytes, calls: dict[str, Callable[..., Any]]) -> dict[str, Any]:
    """The answer to one request; whatever is wrong with it is said, never raised."""
    try:
        request = json.loads(line)
        return {"result": calls[request["call"]](*request["args"])}
    except SigningRefused as refusal:
        return {"refused": str(refusal)}
    except AuditError as error:
        return {"error": str(error)}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        return {"error": f"The signer does not understand this request ({error!r})."}


def serve(listener: socket.socket, signer: FileSigner, allowed: frozenset[int]) -> NoReturn:
    """Answer one connection after the other, for ever."""
    calls = calls_of(signer)
    while True:
        link, _ = listener.accept()
        with contextlib.suppress(OSError), link:  # a caller who hangs or leaves is the caller's trouble
            link.settimeout(TIMEOUT_S)
            told = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            with link.makefile("rb") as stream:
                line = stream.readline(MAX_LINE)
            if struct.unpack("3i", told)[1] in allowed:
                answer = answer_to(line, calls)
            else:
                answer = {"error": "The signer does not take requests from this user."}
            link.sendall(json.dumps(answer).encode() + b"\n")


def listen(path: Path, shared: bool) -> socket.socket:
    """The listening socket: mode 0600, or 0660 when other users are allowed. A stale socket file is replaced."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AuditError(f"{path} exists and is not a socket; choose another --socket.")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117 if shared else 0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def main(arguments: list[str]) -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="signer_process", description="Sign the checkpoints of an audit log."
    )
    parser.add_argument("--folder", type=Path, required=True, help="the private folder of key and memory")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument("--allow-uid", type=int, action="append", default=[], help="a user who may ask")
    parser.add_argument("--create", action="store_true", help="make a key when there is none yet")
    options = parser.parse_args(arguments)
    signer = FileSigner(options.folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        if options.create and not signer.exists():
            signer.create()
        listener = listen(options.socket, shared=bool(options.allow_uid))
        with listener:
            serve(listener, signer, frozenset({os.getuid(), *options.allow_uid}))
    except (AuditError, OSError) as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
