"""Reads imports from source, for the tests of structure: which module of llmill imports which."""

import ast
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

SRC = ROOT / "src"


def module_name(file: Path) -> str:
    """`src/llmill/model/heads.py` is `llmill.model.heads`."""
    parts = file.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted(SRC.rglob("*.py"))}


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of llmill that a module names in an import anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return frozenset(name for name in found if name in MODULES and name.startswith("llmill."))
