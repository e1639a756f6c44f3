"""`manage.py witness`: a C2SP witness of somebody's log, for those who do not run that log."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from deploy.cli import PawlCommand
from governance.assurance.witness_server import Witness, load_config, make_server


class Command(PawlCommand):
    """Witness a log."""

    help = "Run a C2SP witness: cosign the checkpoints of a log that only grows."
    example = (
        "python3 manage.py witness --config /etc/pawl-witness.toml\n  (name, state, listen, logs = [KEY])"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where its settings are."""
        parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="its TOML file")
        parser.add_argument("--show-key", action="store_true", help="print the witness's key and end")

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until stopped."""
        config = load_config(options["config"])
        witness = Witness(config)
        if options["show_key"]:
            self.emit({"key": str(witness.key)}, str(witness.key))
            return
        with make_server(witness, config.host, config.port) as server:
            host, port = server.server_address[:2]
            url = f"http://{host!s}:{port}/"
            data = {"key": str(witness.key), "url": url, "logs": len(config.logs)}
            self.emit(data, f"Witness of {len(config.logs)} log(s) at {url}\nIts key: {witness.key}")
            self.stdout.flush()
            server.serve_forever()
