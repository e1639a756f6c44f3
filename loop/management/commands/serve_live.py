"""`serve_live`: serve a task's live release, for as long as the log's signer leases it."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections

from deploy.cli import PawlCommand
from governance.audit.checkpoints import get_signer
from governance.audit.lease import LEASE
from governance.audit.notes import NoteError, VerifierKey, parse_key
from loop.serving.keeper import LeaseKeeper, Source
from loop.serving.live_server import LiveServer

TOKEN_VARIABLE = "PAWL_READ_TOKEN"
MOST_REFRESH_S = LEASE.total_seconds() / 3


class Command(PawlCommand):
    """Serve until stopped."""

    help = "Serve a task's live release on a lease of 30 seconds that is renewed; a stop ends it."
    example = "python3 manage.py serve_live digits --port 8300    # with PAWL_READ_TOKEN set"

    def add_arguments(self, parser: CommandParser) -> None:
        """What to serve, where, and whom to believe."""
        parser.add_argument("task", help="slug of an installed task")
        parser.add_argument(
            "--url", default="http://127.0.0.1:8000", help="the service that gives the leases"
        )
        parser.add_argument(
            "--key",
            action="append",
            metavar="VKEY",
            help="the log's key (default: this data home's signer's)",
        )
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument(
            "--port", type=int, default=8300, help="port to listen on (default 8300; 0 picks one)"
        )
        parser.add_argument(
            "--refresh",
            type=float,
            default=MOST_REFRESH_S,
            metavar="SECONDS",
            help=f"how often the lease is renewed (at most {MOST_REFRESH_S:g}, the default)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGINT or SIGTERM."""
        if not 0 < options["refresh"] <= MOST_REFRESH_S:
            raise CommandError(f"--refresh is more than 0 and at most {MOST_REFRESH_S:g} seconds.")
        token = os.environ.get(TOKEN_VARIABLE, "")
        if not token:
            raise CommandError(
                f"Set {TOKEN_VARIABLE} to a read token; `manage.py read_token create NAME --as AUDITOR` makes one."
            )
        source = Source(options["url"], token, options["task"], _keys(options["key"]))
        try:
            server = LiveServer((options["host"], options["port"]), LeaseKeeper(source))
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"Cannot listen on {options['host']} port {options['port']}: {error}."
            ) from error
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{options['host']}:{server.server_address[1]}"
        self.stdout.write(
            json.dumps({"url": url})
            if self.as_json
            else f"Serving {options['task']} at {url}  (Ctrl-C stops)"
        )
        self.stdout.flush()
        while not stopping.is_set():
            server.refresh()
            connections.close_all()
            stopping.wait(options["refresh"])
        server.shutdown()
        server.server_close()


def _keys(texts: list[str] | None) -> tuple[VerifierKey, ...]:
    """The keys that count. Raises CommandError for a text that is none."""
    if not texts:
        return (get_signer().key(),)
    try:
        return tuple(parse_key(text) for text in texts)
    except NoteError as error:
        raise CommandError(f"--key: {error}.") from error
