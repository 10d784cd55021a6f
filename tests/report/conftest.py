"""A finished run as stage `report` reads it, once for all tests of a file."""

import pytest

from llmill.report import files
from llmill.report.files import Results
from tests.report import finished


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    root = tmp_path_factory.mktemp("run")
    finished.write(root)
    job = finished.Job(finished.stages(), root / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return files.read(finished.before(), job.inputs)
