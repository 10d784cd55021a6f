"""How torch's threads wait for each other, said to OpenMP before torch is loaded."""

import os

SPINS = "1000"  # turns of a loop; GNU's OpenMP waits far longer by itself, at a core's full cost
CHOSEN_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def share_cores() -> None:
    """Let a thread that waits give its core to other programs soon, unless the user chose a way."""
    if not any(name in os.environ for name in CHOSEN_BY_USER):
        os.environ["GOMP_SPINCOUNT"] = SPINS
