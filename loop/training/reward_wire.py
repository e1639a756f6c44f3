"""The reward protocol: JSON lines over a unix socket, {"rows": [{"id", "completion"}]} -> {"rewards": [float|null]}."""

from __future__ import annotations

import contextlib
import json
import math
import socket
from collections.abc import Sequence
from typing import Any

from loop.errors import TrainingError

MAX_LINE = 64 * 2**20


class LineSocket:
    """One connected stream socket read and written as JSON lines of at most MAX_LINE bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._reader = connection.makefile("rb")

    def send(self, value: Any) -> None:
        """Write one line. Raises OSError when the peer is gone."""
        self.connection.sendall(json.dumps(value, allow_nan=False).encode() + b"\n")

    def receive(self) -> Any:
        """The next line parsed, or None at the end of the stream.

        Raises TrainingError for a line that is too long or not JSON, OSError when the peer is gone.
        """
        line = self._reader.readline(MAX_LINE)
        if not line:
            return None
        if not line.endswith(b"\n"):
            raise TrainingError("A reward message was cut off or longer than 64 MiB.")
        try:
            return json.loads(line)
        except ValueError as error:
            raise TrainingError(f"A reward message is not JSON: {error}.") from error

    def close(self) -> None:
        """Close both directions; a peer that waits sees the end of the stream."""
        with contextlib.suppress(OSError):  # the peer was first
            self.connection.shutdown(socket.SHUT_RDWR)
        self._reader.close()
        self.connection.close()


def parse_rewards(reply: Any, count: int) -> list[float | None]:
    """The rewards of a reply, one per row in order; None is "unknown" and never 0.

    Raises TrainingError unless the reply holds exactly `count` values, each a finite number or null.
    """
    if not isinstance(reply, dict) or not isinstance(reply.get("rewards"), list):
        said = reply.get("error") if isinstance(reply, dict) else None
        raise TrainingError(f"The evaluator gave no rewards: {str(said or reply)[:500]}.")
    values = reply["rewards"]
    if len(values) != count:
        raise TrainingError(f"The evaluator gave {len(values)} rewards for {count} completions.")
    return [_reward(value) for value in values]


def _reward(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TrainingError(f"The evaluator gave the reward {value!r}; it must be a finite number or null.")
    return float(value)


class RewardClient:
    """Asks a reward socket. Used by the trainer process, which sees completions and rewards and no label."""

    def __init__(self, path: str, timeout_s: float = 300.0) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
        except OSError as error:
            raise TrainingError(f"The reward socket {path} does not answer: {error}.") from error
        self._lines = LineSocket(connection)

    def rewards(self, rows: Sequence[tuple[str, str]]) -> list[float | None]:
        """Rewards of (item id, completion) rows. Raises TrainingError when there is no valid answer."""
        try:
            self._lines.send({"rows": [{"id": item, "completion": text} for item, text in rows]})
            reply = self._lines.receive()
        except OSError as error:
            raise TrainingError(f"The reward socket broke off: {error}.") from error
        return parse_rewards(reply, len(rows))
