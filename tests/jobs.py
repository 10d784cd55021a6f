"""What a stage is handed, without a pipeline or a tracker; it keeps what was said and tracked."""

from pathlib import Path
from types import SimpleNamespace

from llmill.contract.countdown import Countdown
from llmill.contract.parts import Parts
from llmill.runner.stopping import Stop

DATA = ("download", "prepare", "tokenizer", "tokenize")


class Track:
    """A tracker that keeps what it was given."""

    def __init__(self):
        self.seen, self.curve, self.sent, self.datasets = {}, [], {}, []

    def metrics(self, values, step=None):
        self.seen |= {key: float(value) for key, value in values.items()}
        self.curve.append((step, values))

    def dataset(self, *words):
        self.datasets.append(words)

    def table(self, name, rows):
        self.sent[name] = rows

    def picture(self, file):
        self.sent[file.stem] = file.read_bytes()

    def text(self, name, text):
        self.sent[name] = text


class Job:
    """It writes into the new folder `out`; results of other stages lie below `root`."""

    def __init__(
        self, out: Path, variant: str | None = None, variants=(), root: Path | None = None
    ):
        self.out, self.variant, self._variants = out, variant, list(variants)
        self.root = out.parent if root is None else root
        self.scratch = self.out.parent / "scratch"
        self.state, self.downloads = self.scratch / "state", self.scratch / "downloads"
        self.parts = Parts(self.scratch / "parts", code="of now")
        self.stage = SimpleNamespace(out=out.as_posix(), address="toy")
        self.stop, self.track, self.said = Stop(), Track(), []
        out.mkdir(parents=True)

    def folder(self, name):
        return self.root / ("data" if name in DATA else "results") / name

    def variants(self, name):
        return self._variants

    def countdown(self, total, unit, start=0, lines=True):
        return Countdown("toy", total, unit, start, lines=False)

    def progress(self, unit):
        return lambda done, total: None

    def say(self, text):
        self.said.append(text)
