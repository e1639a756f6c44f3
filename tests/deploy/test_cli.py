"""What every command shares: one sentence for people, JSON for machines, a traceback only for bugs."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError

from deploy import cli
from governance.errors import NotAllowed
from loop.errors import TaskError
from tests.conftest import Manage


class _Raising(cli.PawlCommand):
    help = "Raise what it is given."
    example = "python3 manage.py raising"

    def __init__(self, error: Exception | None = None) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        super().__init__(stdout=self.out, stderr=self.err)
        self.error = error

    def handle(self, *args: Any, **options: Any) -> None:
        if options.get("late"):
            self.emit({"outcome": "sandbox_error"}, "No sandbox.")
        if self.error is not None:
            raise self.error
        self.emit({"proposal": 3}, "Promoted proposal 3.")

    def shown(self) -> tuple[str, str]:
        return self.out.getvalue(), re.sub(r"\x1b\[\d*;?\d*m", "", self.err.getvalue())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotAllowed("The author's own review does not count."), "The author's own review does not count."),
        (TaskError("tasks/x has no task.toml."), "tasks/x has no task.toml."),
        (ValidationError(["Too long.", "Too odd."]), "Too long. Too odd."),
        (CommandError("Give a reason."), "Give a reason."),
    ],
)
def test_an_error_that_a_person_can_act_on_is_one_sentence(error: Exception, sentence: str) -> None:
    command = _Raising(error)
    with pytest.raises(SystemExit) as caught:
        command.run_from_argv(["manage.py", "raising"])
    assert caught.value.code == 1
    assert command.shown() == ("", sentence + "\n")


def test_with_json_the_error_is_an_object_on_stdout_too() -> None:
    command = _Raising(NotAllowed("No."))
    with pytest.raises(SystemExit):
        command.run_from_argv(["manage.py", "raising", "--json"])
    out, err = command.shown()
    assert json.loads(out) == {"error": "No.", "kind": "NotAllowed"}
    assert err == "No.\n"


def test_a_command_that_printed_its_result_and_then_fails_prints_one_object_only() -> None:
    command = _Raising(CommandError("No sandbox."))
    command.add_arguments = lambda parser: parser.set_defaults(late=True)  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        command.run_from_argv(["manage.py", "raising", "--json"])
    assert json.loads(command.shown()[0]) == {"outcome": "sandbox_error"}


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        _Raising(ZeroDivisionError()).run_from_argv(["manage.py", "raising"])


def test_called_from_python_an_error_is_a_command_error_with_its_cause() -> None:
    with pytest.raises(CommandError, match=r"^No\.$") as caught:
        call_command(_Raising(NotAllowed("No.")))
    assert isinstance(caught.value.__cause__, NotAllowed)


def test_a_database_that_is_not_up_to_date_says_what_to_run() -> None:
    sentence = cli.explain(OperationalError("no such table: governance_task"))
    assert sentence is not None
    assert "python3 manage.py setup" in sentence


def test_output_is_text_or_json() -> None:
    for args, expected in (([], "Promoted proposal 3.\n"), (["--json"], '{"proposal": 3}\n')):
        command = _Raising()
        command.run_from_argv(["manage.py", "raising", *args])
        assert command.shown()[0] == expected


def test_help_ends_with_the_example() -> None:
    text = _Raising().create_parser("manage.py", "raising").format_help()
    assert text.rstrip().endswith("Example:\n  python3 manage.py raising")


def test_without_arguments_the_commands_are_listed(manage: Manage) -> None:
    done = manage()
    assert done.returncode == 0
    for name in ("doctor", "serve", "setup", "test", "lint", "worker"):
        assert re.search(rf"^  {name} +\S", done.stdout, re.MULTILINE), name


def test_every_command_of_ours_has_help_and_a_working_example() -> None:
    for name, app in cli.get_commands().items():
        if app in cli.OUR_APPS:
            command = cli.load_command_class(str(app), name)
            assert isinstance(command, cli.PawlCommand), f"{name} does not inherit PawlCommand"
            assert command.help, f"{name} has no help"
            assert command.example.startswith("python3 manage.py " + name), f"{name} has no example"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["setup", "--extra", "gpu"], "invalid choice: 'gpu'"),
        (["worker", "loop"], "The queue does not answer"),
        (["test", "tests/nowhere"], "There is no tests/nowhere"),
        (["nonsense"], "Unknown command: 'nonsense'"),
    ],
)
def test_bad_input_never_shows_a_traceback(manage: Manage, args: list[str], sentence: str) -> None:
    done = manage(*args)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_one_sentence(manage: Manage) -> None:
    done = manage("doctor", DATABASE_URL="mysql://host/name")
    assert done.returncode == 1
    assert done.stderr.strip().startswith("DATABASE_URL is not understood")
    assert "Traceback" not in done.stderr
