"""`serve`: the desk, the queue and the workers in one command."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import socket
import sys
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from django.core.management.base import CommandError, CommandParser

from deploy.cli import PawlCommand
from deploy.prepare import prepare
from deploy.services import QUEUES, Plan, Supervisor


class Command(PawlCommand):
    """Serve the desk until stopped."""

    help = "Open the desk: migrate, start the queue and the workers, serve pages."
    example = "python3 manage.py serve --port 8000"

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen and what to run."""
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (default 127.0.0.1).")
        parser.add_argument(
            "--port", type=int, default=8000, help="Port to listen on (default 8000; 0 picks one)."
        )
        parser.add_argument(
            "--no-workers", action="store_true", help="Serve pages only; workers run elsewhere."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGINT or SIGTERM, then take the services down."""
        listener = listen(options["host"], options["port"])
        from loop.jobs import Housekeeping

        prepare()
        plan = Plan(workers=() if options["no_workers"] else QUEUES, reconcile=Housekeeping())
        url = f"http://{_shown_host(options['host'])}:{listener.getsockname()[1]}/"
        signal.signal(signal.SIGTERM, _leave)
        with contextlib.suppress(KeyboardInterrupt), Supervisor(plan) as supervisor:
            services = supervisor.describe()
            self.announce(url, services)
            config = uvicorn.Config(
                "deploy.asgi:application", log_config=None, lifespan="off", access_log=False
            )
            uvicorn.Server(config).run(sockets=[listener])

    def announce(self, url: str, services: dict[str, Any]) -> None:
        """Say where the desk is, before the first request can come."""
        running = f"queue: {services['queue']}, workers: {services['workers']}"
        text = f"The desk is open at {url}  ({running}; Ctrl-C stops)"
        self.stdout.write(json.dumps({"url": url, **services}) if self.as_json else text)
        self.stdout.flush()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises CommandError with one sentence when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        sentence = f"Cannot listen on {host} port {port}: {error}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            sentence = f"Port {port} is in use; stop what runs there or choose another: --port {port + 1}"
        raise CommandError(sentence) from error
    return listener


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
