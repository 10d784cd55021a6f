"""Reports the rows of a curve while it grows: figures to the tracker, lines to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmill.contract import printable
from llmill.training.progress import Figures, Row, TrainingProgress

if TYPE_CHECKING:
    from llmill.contract.countdown import Countdown
    from llmill.contract.job import Job


class Reporter:
    """Reports one training of a stage. Its name, which may be empty, begins figures and lines."""

    def __init__(self, job: Job, name: str):
        self._job, self._name = job, name

    def first(self, figures: Figures) -> None:
        """Report the figures of the validation before the first step."""
        self._track({"step": 0, **figures})
        self._say(f"step 0 {' '.join(f'{k} {v:.4f}' for k, v in figures.items())}")

    def resumed(self, progress: TrainingProgress) -> None:
        """Report a resumed training with its whole curve, because the run may have been killed
        between saving and tracking.
        """
        for row in progress.curve:
            self._track(row)
        self._say(f"continues at step {progress.step}")

    def row(self, row: Row, meters: Figures, countdown: Countdown) -> str:
        """Report a row with the meters, in one call of the tracker and one line of the log. Return
        the text for the progress bar.
        """
        self._track(row | meters)
        losses = " ".join(
            f"{k} {v:.4f}" for k, v in row.items() if k not in ("step", "tokens", "lr")
        )
        speed = meters["tokens_per_second"]
        left = printable.duration(countdown.left(int(row["step"] or 0)))
        step = f"step {row['step']}/{countdown.total}"
        self._say(f"{step} {losses} ({speed:,.0f} tokens/s, {left} left)")
        return f"loss {row['train_loss']:.3f}, {speed:,.0f} tokens/s"

    def _track(self, row: Row) -> None:
        figures = {k: v for k, v in row.items() if k != "step" and v is not None}
        of = f"{self._name}." if self._name else ""
        self._job.track.metrics({of + k: v for k, v in figures.items()}, step=row["step"])

    def _say(self, text: str) -> None:
        self._job.say(f"{self._name}: {text}" if self._name else text)
