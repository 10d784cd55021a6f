"""What stage `export` is told."""

from typing import Literal

from llmill.contract.values import Dtype, GgufNumbers, Section


class Export(Section):
    dtype: Dtype  # of the weights on disk
    gguf: GgufNumbers | list[GgufNumbers] | None  # of a file for llama.cpp, or of several
    adapter: Literal["merged", "peft"]  # of what learnt one: peft writes it by itself, too

    @property
    def ggufs(self) -> dict[str, GgufNumbers]:
        """The numbers of each GGUF file, by its name."""
        if not isinstance(self.gguf, list):
            return {"model.gguf": self.gguf} if self.gguf else {}
        return {f"model-{numbers}.gguf": numbers for numbers in self.gguf}
