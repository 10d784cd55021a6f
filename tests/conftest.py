"""What several tests share: the real data, which is never committed; what stage `code` writes."""

import os
from pathlib import Path

import pytest

from llmill.contract import closure, record

ROOT = Path(__file__).parent.parent


def write_code(root: Path, stage: str) -> None:
    """What stage `code` writes about a stage of the source in a folder."""
    locked = closure.read_lock(ROOT / "requirements.lock")
    (root / "data/code").mkdir(parents=True, exist_ok=True)
    found = closure.code_of(closure.SourceTree(root / "src"), stage, locked)
    record.write_json(root / "data/code" / f"{stage}.json", found)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; skips where it is absent. LLMILL_DATA names another place."""
    folder = Path(os.environ.get("LLMILL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "sources.csv").exists():
        pytest.skip(
            "the real data is not here (LLMILL_DATA, or ../shared/data beside the repository)"
        )
    return folder
