"""What stage `pretrain` is told."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from llmill.contract.values import Positive, Processes, Section, Seed, Threads
from llmill.training.settings import Sampling, Training


class Pretrain(Section):
    SPREAD: ClassVar = ("processes", "parallel")

    seed: Seed
    threads: Threads  # of each process
    processes: Processes  # each takes an equal part of every batch
    parallel: Literal["ddp", "fsdp"]  # the whole model in each process, or a shard of it
    compile: bool  # torch.compile: pays back in long runs
    recompute: bool  # activations anew in the backward pass: less memory, a third more work
    objective: Literal["next_token", "masked"]  # masked: some tokens are hidden (BERT)
    packing: Literal["windows", "documents"]  # windows across documents, or rows of whole ones
    mask_documents: bool  # attention stays within a document
    validate_windows: Positive  # at most so many windows for the figures along the way
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
