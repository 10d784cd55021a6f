"""Find the code of a stage: the modules that it imports, directly or indirectly, the tables and
templates beside them, and the locked packages that they import.

A module is hashed by its syntax tree without docstrings, comments and positions, so an edit that
does not change behaviour does not change the hash. Imports are read from the source: imports under
`if TYPE_CHECKING:` do not count, imports inside functions do.
"""

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, TypeGuard

from llmill.contract.errors import UserError
from llmill.contract.record import files_under, sha256_file

PACKAGE = "llmill"
STAGE = "code"  # the stage that records the code of every other stage
LOCK = Path("requirements.lock")
LEFT = ("~", ".tmp", ".orig", ".rej", ".bak", ".save", ".swp", ".pyc", "#")
Code = dict[str, dict[str, str]]
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One module of the package: its content and the names in its imports."""

    name: str
    file: Path
    sha256: str  # of the syntax tree
    has_code: bool  # more than a docstring
    imports: frozenset[str]  # every dotted name in an import


class SourceTree:
    """The package in a folder. Each module is read once, when it is first needed."""

    def __init__(self, root: Path = Path("src")):
        self.root = root
        self._files = [f for f in files_under(root / PACKAGE) if not is_left(f.name)]
        self.modules = {self._name(f): f for f in self._files if f.suffix == ".py"}
        self._known: dict[str, Module] = {}

    def closure(self, name: str) -> list[Module]:
        """Return the module and every module of the package that it imports, directly or
        indirectly, sorted by name.
        """
        if name not in self.modules:
            raise UserError(f"{self.root / Path(*name.split('.'))}.py: no such module")
        seen: dict[str, Module] = {}
        todo = [name]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen[name] = self.module(name)
                package = name.rpartition(".")[0]  # imported before its modules
                todo += (seen[name].imports | {package}) & self.modules.keys()
        return [seen[name] for name in sorted(seen) if seen[name].has_code]

    def module(self, name: str) -> Module:
        """Return one module. Raises `UserError` if Python cannot read it."""
        if name not in self._known:
            self._known[name] = _read(name, self.modules[name])
        return self._known[name]

    def tables(self, modules: list[Module]) -> list[Path]:
        """Return the files beside these modules that are not modules. A folder below a package that
        is not itself a package belongs to that package.
        """
        packages = {module.file.parent for module in modules}
        others = (f for f in self._files if f.suffix != ".py")
        return [f for f in others if self._package_of(f) in packages]

    def last_edit(self) -> int:
        """Return when a file of the package was last written, in nanoseconds."""
        return max(file.stat().st_mtime_ns for file in self._files)

    def _name(self, file: Path) -> str:
        parts = file.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _package_of(self, file: Path) -> Path:
        return next(p for p in file.parents if (p / "__init__.py").exists())


def _read(name: str, file: Path) -> Module:
    try:
        tree = ast.parse(file.read_bytes())
        names = frozenset(_imports(tree))
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:  # a NUL character
        raise UserError(f"{file}: {error}") from None
    return Module(name, file, _sha256(tree), bool(_without_docstring(tree.body)), names)


def is_left(name: str) -> bool:
    """Return whether an editor or a merge left this file beside another."""
    return name.startswith((".", "#")) or name.endswith(LEFT)


def code_of(source: SourceTree, stage: str, locked: Mapping[str, str]) -> Code:
    """Return the code of a stage: hashes by module, hashes by table, versions by package.

    Raises `UserError` for an import that is in neither the package, Python nor the lock file.
    """
    modules = source.closure(f"{PACKAGE}.stages.{stage}")
    versions: dict[str, str] = {}
    for module in modules:
        for name in sorted({name.partition(".")[0] for name in module.imports}):
            if name != PACKAGE and name not in sys.stdlib_module_names:
                versions |= _versions(module, name, locked)
    return {
        "modules": {module.name: module.sha256 for module in modules},
        "tables": {
            file.relative_to(source.root).as_posix(): sha256_file(file)
            for file in source.tables(modules)
        },
        "packages": dict(sorted(versions.items())),
    }


def read_lock(file: Path = LOCK) -> dict[str, str]:
    """Return the locked versions by normalized package name."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{file}: missing; `git checkout {file}` restores it") from None
    return locked_versions(lines)


def locked_versions(lines: Iterable[str]) -> dict[str, str]:
    """Return the locked versions from the lines of a lock file."""
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {_normal(name): version.strip() for name, _, version in pairs}


def _versions(module: Module, name: str, locked: Mapping[str, str]) -> dict[str, str]:
    """Return the locked packages that provide an imported name; several may share one."""
    given = {_normal(package) for package in _distributions().get(name, [name])}
    locked_here = {package: locked[package] for package in sorted(given & locked.keys())}
    if not locked_here:
        raise UserError(
            f"{module.file}: imports {name}, which {LOCK} does not name; `make lock` writes it anew"
        )
    return locked_here


def installed(package: str) -> str | None:
    """Return the installed version without a build suffix (`+cpu`), or None if there is none."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def _distributions() -> Mapping[str, list[str]]:
    global _known
    if _known is None:
        _known = packages_distributions()
    return _known


_known: Mapping[str, list[str]] | None = None  # reading all metadata takes a while


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package.strip()).lower()


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield every dotted name that an import may load, except imports for type checking."""
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise SyntaxError(
                    "a relative import; name the module in full", ("", node.lineno, 0, "")
                )
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of the tree without the bodies of `if TYPE_CHECKING:`."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and _is_for_types(child):
                todo += child.orelse
            elif not isinstance(child, ast.expr | ast.expr_context):  # expressions hold no imports
                todo.append(child)


def _is_for_types(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body


def _sha256(tree: ast.Module) -> str:
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a syntax tree as tuples of a node's class and its fields.

    Empty fields are left out, because they differ between versions of Python; `kind` only
    distinguishes u"" from "".
    """
    if isinstance(value, list):
        branches = (item.orelse if _is_for_types(item) else [item] for item in value)
        return [_plain(item) for items in branches for item in items]
    if not isinstance(value, ast.AST):
        return value
    if isinstance(value, ast.JoinedStr):  # versions also join adjacent parts differently
        return ("JoinedStr", [_plain(part) for part in _joined(value.values)])
    kind = type(value)
    kept: list[tuple[str, Any]] = []
    for name in _by_name(value._fields):
        field: Any = getattr(value, name, None)
        if name == "body" and kind in WITH_DOCSTRING:
            field = _without_docstring(field)
        if name == "value" and kind is ast.Constant:
            kept.append((name, (type(field).__name__, repr(field))))
        elif field is not None and field != []:
            kept.append((name, _plain(field)))
    return (kind.__name__, kept)


@cache
def _by_name(fields: tuple[str, ...]) -> list[str]:
    return sorted(name for name in fields if name != "kind")


def _joined(parts: list[ast.expr]) -> list[ast.expr]:
    """Join neighbouring texts of a formatted string into one."""
    joined: list[ast.expr] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(str(last.value) + str(part.value))
        elif not (isinstance(part, ast.Constant) and part.value == ""):
            joined.append(part)
    return joined
