"""Parameters of stage `pretrain`."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import Positive, Processes, Section, Seed, Threads
from llmill.training.settings import Sampling, Training

Phases = Annotated[list[Positive], Field(min_length=1, max_length=6)]


class Pretrain(Section):
    SPREAD: ClassVar = ("processes", "parallel")

    seed: Seed
    threads: Threads  # per process
    processes: Processes  # each takes an equal part of every batch
    parallel: Literal["ddp", "fsdp"]  # the whole model in each process, or a shard of it
    compile: bool  # torch.compile, which pays off in long runs
    recompute: bool  # recompute activations in the backward pass: less memory, a third more work
    objective: Literal["next_token", "masked"]  # masked: predict hidden tokens (BERT)
    packing: Literal["windows", "documents"]  # windows across documents, or rows of whole ones
    mask_documents: bool  # restrict attention to the same document
    shorten_rows: Phases  # divides the length of rows, phase by phase
    validate_windows: Positive  # most windows for validation during the training
    training: Training
    samples: Sampling

    @model_validator(mode="after")
    def batch_divides(self) -> Self:
        size = self.training.batch_size
        if size % self.processes:
            raise ValueError(
                f"training.batch_size {size} cannot be divided by processes {self.processes}"
            )
        return self
