"""What all commands share: one-sentence errors, `--json`, examples in `--help`, the list of commands.

Write a command as a subclass of PawlCommand:

    class Command(PawlCommand):
        help = "Say in one line what it does."
        example = "python3 manage.py promote 3 --by ann --reason 'Hidden gain is real.'"

        def add_arguments(self, parser): ...
        def handle(self, *args, **options): ...
            self.emit({"proposal": 3}, "Promoted proposal 3.")
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NoReturn

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, ValidationError
from django.core.management import ManagementUtility, get_commands, load_command_class
from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
    handle_default_options,
)
from django.db import OperationalError, ProgrammingError, connections
from django.utils.module_loading import import_string

OUR_APPS = ("deploy", "governance", "loop")


class _HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Django's order of options, with examples printed as they were written."""


class PawlCommand(BaseCommand):
    """Base of every command.

    Errors of governance and loop, validation errors and missing rows end the command with one sentence on
    stderr and exit status 1 (as CommandError when called from Python). Any other exception is a bug and keeps
    its traceback.
    """

    example: str = ""
    has_json: bool = True
    requires_system_checks: list[str] = []  # noqa: RUF012  (Django declares it as an instance attribute)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """The command's parser with `--json` and its examples."""
        epilog = f"Example:\n  {self.example}" if self.example else ""
        parser = super().create_parser(
            prog_name, subcommand, epilog=epilog, formatter_class=_HelpFormatter, **kwargs
        )
        if self.has_json:
            parser.add_argument("--json", action="store_true", help="Print one JSON object instead of text.")
        return parser

    def emit(self, data: Any, text: str) -> None:
        """Print the text for people, or the data with `--json`."""
        self.stdout.write(json.dumps(data, default=str) if self.as_json else text)
        self._emitted = True

    @property
    def as_json(self) -> bool:
        """Whether this run was asked for JSON."""
        return self._as_json

    _as_json = False
    _emitted = False

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, turning the errors that a person can act on into CommandError."""
        self._as_json = bool(options.get("json"))
        try:
            return super().execute(*args, **options)
        except CommandError:
            raise
        except Exception as error:
            sentence = explain(error)
            if sentence is None:
                raise
            raise CommandError(sentence) from error

    def run_from_argv(self, argv: list[str]) -> None:
        """Run from the command line; a CommandError is one sentence, without its class's name."""
        self._called_from_command_line = True
        options = vars(self.create_parser(argv[0], argv[1]).parse_args(argv[2:]))
        args = options.pop("args", ())
        handle_default_options(argparse.Namespace(**options))
        try:
            self.execute(*args, **options)
        except CommandError as error:
            self.fail(error)
        except KeyboardInterrupt:
            self.stderr.write("Stopped.")
            sys.exit(130)
        except BrokenPipeError:
            sys.stdout = None  # the reader left; nothing more can be written
            sys.exit(1)
        finally:
            connections.close_all()

    def fail(self, error: CommandError) -> NoReturn:
        """Say what is wrong (and as JSON too, when asked and no result was printed) and end the process."""
        if self.as_json and not self._emitted:
            kind = type(error.__cause__).__name__ if error.__cause__ else "CommandError"
            self.stdout.write(json.dumps({"error": str(error), "kind": kind}))
        self.stderr.write(str(error))
        sys.exit(error.returncode)


def explain(error: Exception) -> str | None:
    """The sentence for an error that a person can act on, or None when the error is a bug."""
    if isinstance(error, ValidationError):
        return " ".join(error.messages)
    if isinstance(error, (ObjectDoesNotExist, ImproperlyConfigured)):
        return str(error)
    if isinstance(error, (OperationalError, ProgrammingError)):
        return _explain_database(error)
    if isinstance(error, tuple(import_string(name) for name in settings.CLI_ERRORS)):
        return str(error)
    return None


def _explain_database(error: Exception) -> str | None:
    message = " ".join(str(error).split())
    if "no such table" in message or "no such column" in message or "does not exist" in message:
        return f"The database is not up to date ({message}); run: python3 manage.py setup"
    if isinstance(error, OperationalError):
        return f"The database cannot be used ({message}); check DATABASE_URL or the data home's permissions."
    return None


def overview() -> str:
    """The commands of this project, by application, with their one-line help."""
    lines = ["Usage: python3 manage.py COMMAND [options]      (COMMAND --help says more)", ""]
    commands = get_commands()
    for name in sorted(commands):
        app = commands[name]
        if app in OUR_APPS:
            summary = (load_command_class(app, name).help or "").strip().splitlines() or [""]
            lines.append(f"  {name:<16} {summary[0]}")
    lines += [
        "",
        "Django's own commands (migrate, createsuperuser, shell, ...): python3 manage.py help --commands",
    ]
    return "\n".join(lines)


def run(argv: list[str]) -> None:
    """Run one command line, or print the overview when it names no command."""
    try:
        _ = settings.INSTALLED_APPS  # the first access loads the settings
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(
            f"The data home cannot be used ({error}); set PAWL_HOME to a folder that this account can write."
        )
    if len(argv) < 2 or argv[1:] in (["--help"], ["-h"], ["help"]):
        django.setup()
        sys.stdout.write(overview() + "\n")
        return
    ManagementUtility(argv).execute()
