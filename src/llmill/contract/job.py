"""The object that the runner passes to a stage besides its parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llmill.contract import parts, pipeline, processes, record
from llmill.contract.countdown import Countdown, tell

STATE = "state"  # below a stage's scratch folder; a training resumes from it


class Tracker(Protocol):
    """Tracking beside the files of a stage: its MLflow run."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Log metrics of one step or of the whole run."""

    def dataset(self, name: str, path: str, digest: str) -> None:
        """Log an input data set, with its content hash as digest."""

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Log rows (samples, predictions) as a table."""

    def picture(self, file: Path) -> None:
        """Log a picture that the stage has written."""

    def text(self, name: str, text: str) -> None:
        """Log a text file."""


class StopRequest(Protocol):
    """A request to stop the stage."""

    signum: int | None  # the signal; None if there was none

    def deferred(self) -> contextlib.AbstractContextManager[None]:
        """Only note a signal inside this context: the work checks `signum` where it can save."""


@dataclass
class Job:
    """The folders, stages, tracker and stop request of one run of a stage."""

    stage: pipeline.Stage
    stages: dict[str, pipeline.Stage]
    out: Path
    scratch: Path
    track: Tracker
    stop: StopRequest

    @property
    def variant(self) -> str | None:
        """The matrix value of this run."""
        return self.stage.variant

    @property
    def inputs(self) -> list[Path]:
        """Every declared dependency."""
        return [Path(d) for d in self.stage.deps]

    @property
    def downloads(self) -> Path:
        """The folder of downloads, partial and finished."""
        return record.SCRATCH / "downloads"

    @property
    def parents(self) -> list[pipeline.Stage]:
        """The stages whose results this one reads."""
        return pipeline.parents(self.stages, self.stage)

    @property
    def state(self) -> Path:
        """The folder where a training saves the state that it resumes from."""
        return self.scratch / STATE

    @property
    def parts(self) -> parts.Parts:
        """The parts of the stage's work that other jobs or a stopped run have made."""
        code = record.to_json(record.hash_inputs(self.stage.code))
        return parts.Parts(self.scratch.parent / parts.FOLDER, record.sha256_text(code))

    def folder(self, name: str) -> Path:
        """Return the folder of a stage's result: `pretrain`, or `classify/all` for a variant."""
        return pipeline.folder(self.stages, name)

    def variants(self, name: str) -> list[str]:
        """Return the matrix values of a stage."""
        return pipeline.variants(self.stages, name)

    def countdown(self, total: int, unit: str, start: int = 0, lines: bool = True) -> Countdown:
        """Return a counter of the stage's work, which a terminal shows as a bar."""
        return Countdown(self.stage.address, total, unit, start, lines)

    def progress(self, unit: str) -> Callable[[int, int], None]:
        """Return a function that takes how many units are done, and the total."""
        countdown: Countdown | None = None

        def at(done: int, total: int) -> None:
            nonlocal countdown
            countdown = countdown or self.countdown(total, unit)
            countdown.at(done)

        return at

    def say(self, text: str) -> None:
        """Print one plain line to a terminal or a log, from the first of several processes."""
        if processes.main():
            tell(self.stage.address, text)
