"""A schedule for a test: what the test says, and what the smoke preset says of any other key."""

from typing import Any

from llmill.training.settings import Schedule
from tests.conftest import preset


def schedule(**values: Any) -> Schedule:
    """The smoke preset's, changed."""
    kept = preset("smoke").pretrain.training.schedule.model_dump()
    return Schedule(**kept | values)
