"""What several tests share: the real data, which is never committed."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; skips where it is absent. LLMILL_DATA names another place."""
    folder = Path(os.environ.get("LLMILL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "sources.csv").exists():
        pytest.skip(
            "the real data is not here (LLMILL_DATA, or ../shared/data beside the repository)"
        )
    return folder
