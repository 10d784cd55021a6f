"""Sample texts that a model writes during training, and their folder until the training ends."""

from pathlib import Path
from typing import Any

from llmill.contract import processes, record
from llmill.model.generate import Choice, generate
from llmill.model.transformer import Transformer
from llmill.text.tokenization.tokenizer import Tokenizer
from llmill.training.settings import Sampling


class Samples:
    """Rows that are written during training, one file per step, so that a resumed run has all."""

    def __init__(self, folder: Path):
        self.folder = folder

    def keep(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Write the rows of a step, with its number."""
        if processes.main():
            self.folder.mkdir(parents=True, exist_ok=True)
            numbered = [{"step": step, **row} for row in rows]
            record.write_json(self.folder / f"{step:09d}.json", numbered)

    def gather(self) -> list[dict[str, Any]]:
        """Return the rows of all steps, in the order of the steps."""
        return [
            row for file in sorted(self.folder.glob("*.json")) for row in record.read_json(file)
        ]


class Sampler:
    """Writes sample texts with its own random state."""

    def __init__(self, tokenizer: Tokenizer, settings: Sampling, seed: int, samples: Samples):
        self.tokenizer, self.settings, self.seed = tokenizer, settings, seed
        self.samples = samples

    def write(self, model: Transformer, step: int) -> None:
        """Continue each prompt and keep the texts."""
        prompts = [
            [self.tokenizer.end_of_text, *self.tokenizer.encode(p)] for p in self.settings.prompts
        ]
        answers = generate(
            model,
            prompts,
            max_new_tokens=self.settings.max_new_tokens,
            end_of_text=self.tokenizer.end_of_text,
            ends=self.tokenizer.ends,
            choice=Choice(temperature=self.settings.temperature, top_k=self.settings.top_k),
            seed=self.seed,
        )
        rows = [
            {"prompt": prompt, "text": self.tokenizer.decode(ids)}
            for prompt, ids in zip(self.settings.prompts, answers, strict=True)
        ]
        self.samples.keep(step, rows)
