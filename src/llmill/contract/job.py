"""What a stage is handed besides its parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llmill.contract import parts, pipeline, processes, record
from llmill.contract.countdown import Countdown, tell

STATE = "state"  # below a stage's scratch folder: what a training resumes from


class Tracker(Protocol):
    """Where figures are kept beside the files: the stage's MLflow run."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Figures, of a step or of the whole."""

    def dataset(self, name: str, path: str, digest: str) -> None:
        """A data set that went in, with its content hash as digest."""

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows (samples, predictions) as a table."""

    def picture(self, file: Path) -> None:
        """A picture that the stage has written."""

    def text(self, name: str, text: str) -> None:
        """A text file."""


class StopRequest(Protocol):
    """Whether somebody asked the stage to stop."""

    signum: int | None  # the signal

    def deferred(self) -> contextlib.AbstractContextManager[None]:
        """Inside, a signal is only noted: the work looks at `signum` where it can save."""


@dataclass
class Job:
    """What a stage is handed besides its parameters."""

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
        """Where downloads, partial and finished, are kept."""
        return record.SCRATCH / "downloads"

    @property
    def parents(self) -> list[pipeline.Stage]:
        """The stages whose results this one reads."""
        return pipeline.parents(self.stages, self.stage)

    @property
    def state(self) -> Path:
        """Where a training saves what it resumes from."""
        return self.scratch / STATE

    @property
    def parts(self) -> parts.Parts:
        """Where parts of the stage's work lie, made by other jobs or by a run that was stopped."""
        code = record.to_json(record.hash_inputs(self.stage.code))
        return parts.Parts(self.scratch.parent / parts.FOLDER, record.sha256_text(code))

    def folder(self, name: str) -> Path:
        """Where the result of a stage lies: `pretrain`, or a variant's as `classify/all`."""
        return pipeline.folder(self.stages, name)

    def variants(self, name: str) -> list[str]:
        """The matrix values of a stage."""
        return pipeline.variants(self.stages, name)

    def countdown(self, total: int, unit: str, start: int = 0, lines: bool = True) -> Countdown:
        """A counter of the stage's work that a terminal shows as a bar."""
        return Countdown(self.stage.address, total, unit, start, lines)

    def progress(self, unit: str) -> Callable[[int, int], None]:
        """A function to be told how many of these are done, of how many."""
        countdown: Countdown | None = None

        def at(done: int, total: int) -> None:
            nonlocal countdown
            countdown = countdown or self.countdown(total, unit)
            countdown.at(done)

        return at

    def say(self, text: str) -> None:
        """One plain line for a terminal or a log, from the first of several processes."""
        if processes.main():
            tell(self.stage.address, text)
