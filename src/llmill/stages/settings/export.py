"""Parameters of stage `export`."""

from typing import Literal

from llmill.contract.values import Dtype, GgufNumbers, Section


class Export(Section):
    dtype: Dtype  # of the weights on disk
    gguf: GgufNumbers | list[GgufNumbers] | None  # number types of files for llama.cpp; null: none
    adapter: Literal["merged", "peft"]  # peft: also write a trained adapter by itself

    @property
    def ggufs(self) -> dict[str, GgufNumbers]:
        """The number type of each GGUF file, by file name."""
        if not isinstance(self.gguf, list):
            return {"model.gguf": self.gguf} if self.gguf else {}
        return {f"model-{numbers}.gguf": numbers for numbers in self.gguf}
