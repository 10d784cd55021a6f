"""Set how torch's threads wait for each other; OpenMP must know before torch is loaded."""

import os

SPINS = "1000"  # loop turns; by default GNU's OpenMP waits far longer and keeps a core busy
CHOSEN_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def share_cores() -> None:
    """Let a waiting thread free its core for other programs soon, unless the user decided."""
    if not any(name in os.environ for name in CHOSEN_BY_USER):
        os.environ["GOMP_SPINCOUNT"] = SPINS
