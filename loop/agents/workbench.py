"""The tools of a language-model agent: the harness tree in memory, and the decision. No file system."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loop.agents.tree import changes, check_python, check_text
from loop.errors import LoopError
from loop.harness_tree import check_path
from loop.types import Decision, Lever

MAX_SHOWN = 60_000
TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool as providers are told of it: `schema` is a JSON schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call by the model; `arguments` is None when they were not valid JSON."""

    id: str
    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model is told."""

    id: str
    text: str
    is_error: bool = False


class ToolMisuse(Exception):
    """The sentence that a model gets back for a call that cannot be carried out."""


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def tool_specs(levers: frozenset[Lever]) -> tuple[ToolSpec, ...]:
    """The tools, with the levers that are open."""
    path = {"path": TEXT}
    lever = {"type": "string", "enum": sorted(entry.value for entry in levers)}
    return (
        ToolSpec("list_files", "Lists the files of the harness with their sizes in bytes.", _object({})),
        ToolSpec("read_file", "Returns one file of the harness.", _object(path)),
        ToolSpec(
            "edit_file",
            "Replaces `old`, which must occur exactly once in the file, by `new`.",
            _object({**path, "old": TEXT, "new": TEXT}),
        ),
        ToolSpec("write_file", "Creates a file or replaces all of it.", _object({**path, "text": TEXT})),
        ToolSpec("delete_file", "Removes a file.", _object(path)),
        ToolSpec(
            "decide",
            "Ends your work: the lever, and the reason with the numbers and items that you rely on.",
            _object({"lever": lever, "reason": TEXT}, {"algorithm": TEXT, "hyper": {"type": "object"}}),
        ),
    )


class Workbench:
    """One agent's session on one tree. `decision` is set once a decision passed `check`."""

    def __init__(
        self, files: Mapping[str, str], levers: frozenset[Lever], check: Callable[[Decision], None]
    ) -> None:
        self._original = dict(files)
        self._files = dict(files)
        self._levers = levers
        self._check = check
        self.specs = tool_specs(levers)
        self.decision: Decision | None = None

    def run(self, call: ToolCall) -> ToolResult:
        """Carry out one call; every misuse is a sentence to the model, never an exception."""
        tools = {
            "list_files": self._list,
            "read_file": self._read,
            "edit_file": self._edit,
            "write_file": self._write,
            "delete_file": self._delete,
            "decide": self._decide,
        }
        try:
            if call.name not in tools:
                raise ToolMisuse(f"There is no tool {call.name[:60]!r}.")
            if call.arguments is None:
                raise ToolMisuse("The arguments are not a JSON object.")
            spec = next(entry for entry in self.specs if entry.name == call.name)
            check_arguments(spec, call.arguments)
            return ToolResult(call.id, tools[call.name](call.arguments))
        except (ToolMisuse, LoopError) as error:
            return ToolResult(call.id, str(error), is_error=True)

    def _list(self, arguments: Mapping[str, Any]) -> str:
        return "\n".join(f"{path} ({len(text.encode())} bytes)" for path, text in sorted(self._files.items()))

    def _read(self, arguments: Mapping[str, Any]) -> str:
        text = self._existing(arguments["path"])
        if len(text) > MAX_SHOWN:
            return f"{text[:MAX_SHOWN]}\n[cut: {len(text) - MAX_SHOWN} more characters]"
        return text

    def _edit(self, arguments: Mapping[str, Any]) -> str:
        path, old = arguments["path"], arguments["old"]
        text = self._existing(path)
        count = text.count(old) if old else 0
        if count != 1:
            raise ToolMisuse(f"`old` occurs {count} times in {path}; it must occur exactly once.")
        return self._store(path, text.replace(old, arguments["new"]))

    def _write(self, arguments: Mapping[str, Any]) -> str:
        return self._store(arguments["path"], arguments["text"])

    def _delete(self, arguments: Mapping[str, Any]) -> str:
        self._existing(arguments["path"])
        del self._files[arguments["path"]]
        return f"{arguments['path']} is removed."

    def _decide(self, arguments: Mapping[str, Any]) -> str:
        lever = Lever(arguments["lever"])
        edits = changes(self._original, self._files) if lever is Lever.HARNESS else {}
        decision = Decision(
            lever,
            arguments["reason"].strip(),
            files=edits,
            algorithm=arguments.get("algorithm", ""),
            hyper=arguments.get("hyper", {}),
        )
        if lever is Lever.HARNESS and not edits:
            raise ToolMisuse(
                "You decided for the harness but changed no file; edit it first or choose another lever."
            )
        self._check(decision)
        self.decision = decision
        return "The decision is taken."

    def _existing(self, path: str) -> str:
        if path not in self._files:
            check_path(path)
            raise ToolMisuse(f"{path} does not exist; list_files shows what does.")
        return self._files[path]

    def _store(self, path: str, text: str) -> str:
        check_text(check_path(path), text)
        self._files[path] = text
        if path.endswith(".py"):
            check_python(path, text)
        return f"{path} has {len(text.encode())} bytes now."


def check_arguments(spec: ToolSpec, arguments: Mapping[str, Any]) -> None:
    """Raise ToolMisuse unless the arguments fit the tool's schema."""
    properties = spec.schema["properties"]
    if missing := [name for name in spec.schema["required"] if name not in arguments]:
        raise ToolMisuse(f"{spec.name} needs {', '.join(missing)}.")
    if extra := [str(name)[:40] for name in arguments if name not in properties]:
        raise ToolMisuse(f"{spec.name} does not take {', '.join(extra)}.")
    for name, value in arguments.items():
        rule = properties[name]
        kind: type = dict if rule["type"] == "object" else str
        if not isinstance(value, kind):
            raise ToolMisuse(f"{spec.name}: {name} must be a {rule['type']}.")
        if "enum" in rule and value not in rule["enum"]:
            raise ToolMisuse(f"{spec.name}: {name} must be one of {', '.join(rule['enum'])}.")
