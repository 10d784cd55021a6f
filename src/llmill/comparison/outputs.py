"""What stages left, by the hashes of `dvc.lock`: a file is read from wherever DVC still has it, and
what nobody has is remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmill.comparison.cache import Cache
from llmill.comparison.made import Made
from llmill.contract import elsewhere

Read = Callable[[str], Any]  # the value of a JSON file of a result by its name; None without one


@dataclass
class Outputs:
    """Reads results; `missing`: what dvc.lock names and neither cache nor work tree holds."""

    cache: Cache
    missing: list[str] = field(default_factory=list)

    def files(self, made: Made) -> dict[str, str]:
        """Hashes by name of all that a run left."""
        found: dict[str, str] = {}
        for out, md5 in made.outs.items():
            listed = self.cache.files(md5, out)
            if listed is None:
                self._miss(out)
            found |= listed or {}
        return found

    def reader(self, made: Made) -> Read:
        """Reads the JSON files of a run."""
        files = self.files(made)
        ((out, _),) = [*made.outs.items()][:1] or [("", "")]

        def read(name: str) -> Any:
            return self.json(files[name], f"{out}/{name}") if name in files else None

        return read

    def json(self, md5: str, path: str) -> Any:
        """The value of a JSON file; None for what is missing, or damaged."""
        content = self.cache.read(md5, path)
        if content is None:
            self._miss(path)
            return None
        try:
            return elsewhere.parsed(content)
        except ValueError:
            self._miss(path)
            return None

    def _miss(self, path: str) -> None:
        if path not in self.missing:
            self.missing.append(path)
