"""A toy job that counts as a real one does, but writes a line at once and not after half a minute."""

from functools import partial

from llmill.contract import countdown
from llmill.contract.countdown import Countdown
from llmill.contract.job import Job as RealJob
from tests.jobs import Job


def counting(job: Job, monkeypatch) -> Job:
    monkeypatch.setattr(countdown, "SAID", 0.0)
    job.countdown = partial(Countdown, "toy")
    job.progress = partial(RealJob.progress, job)
    return job


def counts(out: str, unit: str) -> list[tuple[int, int]]:
    """The counts of a unit among the lines of a log; each but the last says the time left."""
    found = []
    for line in out.splitlines():
        count, *left = line.removeprefix("toy: ").split(", ")
        done, _, total, what = count.split(" ", 3)
        if what == unit:
            found.append((int(done), int(total)))
            assert bool(left) == (done != total)
    return found
