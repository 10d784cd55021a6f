"""What a fetch that fails leaves behind, for tests of all kinds of addresses."""

import pytest

from llmill.contract.errors import UserError


def refused(desk, file, **how):
    """The one line that a user sees; nothing half-written is left for a stage to read."""
    with pytest.raises(UserError) as error:
        desk.get(file, **how)
    assert "\n" not in str(error.value)
    assert not desk.to.exists()
    return str(error.value)
