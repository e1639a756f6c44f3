"""Guards broken one at a time: which there are in the source, and how one is broken in a running process.

A mutant is one function whose code is exchanged for that of a changed source: an `if ...: raise` that is gone, a call
of a check that is gone, a condition of several that is dropped, a bound that is off by one.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

from tests.governance.core import closure

LOOSER: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
Break = Callable[[ast.AST], None]


@dataclass(frozen=True)
class Mutant:
    """One broken guard: `name` is module:function:line:what and stays the same while the source does.

    `function` is a function of the module, or `Class.method`.
    """

    name: str
    module: str
    function: str
    code: CodeType


def mutants() -> list[Mutant]:
    """Every mutant of the trusted core, in the order of its modules' names and of their source."""
    return [mutant for module in sorted(closure()) for mutant in _of_module(module)]


@contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """Break the guard while the block runs, wherever the function was imported to."""
    function, forget = _function_of(mutant), getattr(_attribute(mutant), "cache_clear", lambda: None)
    whole = function.__code__
    function.__code__ = mutant.code
    forget()
    try:
        yield
    finally:
        function.__code__ = whole
        forget()


def code_now(mutant: Mutant) -> CodeType:
    """The code of the function as it is in this process."""
    return _function_of(mutant).__code__


def _attribute(mutant: Mutant) -> Any:
    found: Any = import_module(mutant.module)
    for part in mutant.function.split("."):
        found = inspect.getattr_static(found, part)
    return found


def _function_of(mutant: Mutant) -> FunctionType:
    found = _attribute(mutant)
    match found:
        case property(fget=inner) | classmethod(__func__=inner) | staticmethod(__func__=inner):
            found = inner
    return cast(FunctionType, inspect.unwrap(found))


def _of_module(module: str) -> Iterator[Mutant]:
    path = Path(str(import_module(module).__file__))
    tree, named = ast.parse(path.read_text(encoding="utf-8")), Counter[str]()
    for body, place, where in _functions(tree):
        whole = body[place]
        assert isinstance(whole, ast.FunctionDef)
        for line, what, changed in _changes(whole):
            body[place] = changed
            code = compile(tree, str(path), "exec", dont_inherit=True)
            body[place] = whole
            name = f"{module}:{where}:{line}:{what}"
            named[name] += 1
            again = f" ({named[name]})" if named[name] > 1 else ""
            yield Mutant(name + again, module, where, _code_of(code, where))


def _functions(tree: ast.Module) -> list[tuple[list[ast.stmt], int, str]]:
    """(the body that it stands in, its place there, its name) of every function and every method of a class."""
    bodies = [
        ("", tree.body),
        *((f"{each.name}.", each.body) for each in tree.body if isinstance(each, ast.ClassDef)),
    ]
    return [
        (body, place, owner + each.name)
        for owner, body in bodies
        for place, each in enumerate(body)
        if isinstance(each, ast.FunctionDef)
    ]


def _code_of(code: CodeType, function: str) -> CodeType:
    for part in function.split("."):
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == part)
    return code


def _changes(function: ast.FunctionDef) -> Iterator[tuple[int, str, ast.FunctionDef]]:
    """(line, what was done, the function with it done) for each single change."""
    for number, node in enumerate(ast.walk(function)):
        for what, change in _breaks(node):
            changed = copy.deepcopy(function)
            same = next(each for place, each in enumerate(ast.walk(changed)) if place == number)
            change(same)
            yield getattr(node, "lineno", function.lineno), what, ast.fix_missing_locations(changed)


def _breaks(node: ast.AST) -> Iterator[tuple[str, Break]]:
    """What can be broken at one node, each with how."""
    for field in ("body", "orelse"):
        statements = getattr(node, field, None)
        for place, statement in enumerate(statements if isinstance(statements, list) else ()):
            if _is_guard(statement):
                yield f"no {_told(statement)}", _without(field, place)
    if isinstance(node, ast.BoolOp) and not any(isinstance(part, ast.Constant) for part in node.values):
        for place, part in enumerate(node.values):
            yield f"not asked: {ast.unparse(part)}", _not_asked(place)
    if isinstance(node, ast.comprehension):
        for place, part in enumerate(node.ifs):
            yield f"all, not only if {ast.unparse(part)}", _one_less("ifs", place)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in LOOSER:
        yield f"the bound of {ast.unparse(node)}", _loosened
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "filter":
        for place, keyword in enumerate(node.keywords):
            if len(node.keywords) > 1:
                yield f"found without {ast.unparse(keyword)}", _one_less("keywords", place)


def _is_guard(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If):
        return isinstance(statement.body[-1], ast.Raise)
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return False
    return call.func.id.startswith("check_")


def _told(statement: ast.stmt) -> str:
    return ast.unparse(statement.test if isinstance(statement, ast.If) else statement)


def _without(field: str, place: int) -> Break:
    def change(node: ast.AST) -> None:
        getattr(node, field)[place] = ast.Pass()

    return change


def _one_less(field: str, place: int) -> Break:
    def change(node: ast.AST) -> None:
        del getattr(node, field)[place]

    return change


def _not_asked(place: int) -> Break:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.BoolOp)
        node.values[place] = ast.Constant(isinstance(node.op, ast.And))

    return change


def _loosened(node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops[0] = LOOSER[type(node.ops[0])]()
