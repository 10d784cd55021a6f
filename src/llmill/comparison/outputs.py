"""Read what stages left, by the hashes of `dvc.lock`: a file is read from wherever DVC still has
it, and files that nobody has are remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmill.comparison.cache import DvcCache
from llmill.comparison.stage_runs import StageRun
from llmill.contract import elsewhere

Read = Callable[[str], Any]  # the value of a result's JSON file by its name, or None


@dataclass
class Outputs:
    """Reader of results. `missing`: what dvc.lock names and neither cache nor work tree holds."""

    cache: DvcCache
    missing: list[str] = field(default_factory=list)

    def files(self, run: StageRun) -> dict[str, str]:
        """Return hashes by name of everything that a run left."""
        hashes: dict[str, str] = {}
        for out, md5 in run.outs.items():
            listed = self.cache.files(md5, out)
            if listed is None:
                self._miss(out)
            hashes |= listed or {}
        return hashes

    def reader(self, run: StageRun) -> Read:
        """Return a function that reads the JSON files of a run."""
        files = self.files(run)
        ((out, _),) = [*run.outs.items()][:1] or [("", "")]

        def read(name: str) -> Any:
            return self.json(files[name], f"{out}/{name}") if name in files else None

        return read

    def json(self, md5: str, path: str) -> Any:
        """Return the value of a JSON file, or None if it is missing or damaged."""
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
