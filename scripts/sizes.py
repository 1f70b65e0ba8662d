"""Files and classes that have grown too large to be read at one sitting."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_LINES = 300
"""A file of more lines is worth a look."""
FILE_LINES_AT_MOST = 500
CLASS_LINES_AT_MOST = 250
METHODS_AT_MOST = 20


@dataclass(frozen=True)
class TooLarge:
    """What is large, in a sentence. broken: is it over what is allowed, or only worth a look?"""

    what: str
    broken: bool


def too_large(files: Iterable[Path], root: Path) -> Iterator[TooLarge]:
    """All that is large in `files`, which lie in the folder `root`."""
    for path in files:
        yield from in_file(path.relative_to(root).as_posix(), path.read_text("utf-8"))


def in_file(name: str, source: str) -> Iterator[TooLarge]:
    """What is large in the Python file called `name`."""
    lines = len(source.splitlines())
    if lines > FILE_LINES:
        yield TooLarge(f"{name}: {lines} lines", broken=lines > FILE_LINES_AT_MOST)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            yield from _in_class(name, node)


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _in_class(name: str, node: ast.ClassDef) -> Iterator[TooLarge]:
    where = f"{name}:{node.lineno}: class {node.name}"
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > CLASS_LINES_AT_MOST:
        yield TooLarge(f"{where} has {lines} lines", broken=True)
    methods = {each.name for each in node.body if isinstance(each, _FUNCTIONS) and not _is_declared_only(each)}
    if len(methods) > METHODS_AT_MOST:
        yield TooLarge(f"{where} has {len(methods)} methods", broken=True)


def _is_declared_only(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Is its body `...` alone, as a protocol's methods and overloads have it?"""
    last = function.body[-1]
    return isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...
