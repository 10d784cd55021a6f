"""What stage `download` is told."""

from typing import Annotated

from pydantic import Field

from llmill.contract.model_folder import GGUF
from llmill.contract.values import Line, Retries, Seconds, Section
from llmill.world.settings import World


class Download(Section):
    """Sources by role: names in `sources.yaml`, or `world`, and for text `news`, both generated;
    `init`, the weights to begin from, may also be a folder, which is known by a `/` in it, or a
    GGUF file, known by its ending.
    """

    text: Annotated[list[Line], Field(min_length=1)]
    classification: Line
    instruction: Line
    mmlu: Line
    tokenizer: Line | None
    init: Line | None
    retries: Retries
    timeout: Seconds  # without a byte
    world: World

    @property
    def sources(self) -> list[tuple[str, str]]:
        """Role and name of every source, but for a folder of weights."""
        roles = ("classification", "instruction", "mmlu", "tokenizer", "init")
        pairs = [("text", name) for name in self.text]
        pairs += [(role, getattr(self, role)) for role in roles if getattr(self, role)]
        return [(role, name) for role, name in pairs if name != self.init_folder]

    @property
    def init_folder(self) -> str | None:
        """The folder or file of this machine that `init` names, if it names one."""
        here = self.init is not None and ("/" in self.init or self.init.endswith(GGUF))
        return self.init if here else None
