"""The sections of `params.yaml` for the training loop, and for sample texts during training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import (
    BatchSize,
    LearningRate,
    Natural,
    Positive,
    Prompt,
    Rate,
    Section,
    Temperature,
    Written,
)


class Optimizer(Section):
    kind: Literal["adamw", "muon"]  # muon: Muon for the blocks' matrices, AdamW for the rest
    lr: LearningRate
    muon_lr: LearningRate
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]


class Schedule(Section):
    decay: Literal["cosine", "linear", "constant_linear"]
    warmup_steps: Natural
    decay_share: Annotated[float, Field(gt=0, le=1)]  # constant_linear: share of steps that decay
    min_factor: Annotated[float, Field(ge=0, le=1)]  # final learning rate over the peak rate


class Training(Section):
    """Settings of the training loop for any stage. Exactly one of `max_steps` and `epochs` is set.
    Zero steps are for `pretrain` with `download.init`: the weights pass through unchanged.
    """

    max_steps: Natural | None
    epochs: Annotated[float, Field(gt=0, le=100_000)] | None
    batch_size: BatchSize
    grad_accum_steps: BatchSize
    grad_clip: Rate
    optimizer: Optimizer
    schedule: Schedule
    log_every: Positive
    validate_every: Positive
    checkpoint_every: Positive

    @model_validator(mode="after")
    def one_length(self) -> Self:
        if (self.max_steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of max_steps and epochs, and null for the other")
        return self

    @model_validator(mode="after")
    def validation_falls_on_a_row(self) -> Self:
        if self.validate_every % self.log_every:
            raise ValueError(
                f"validate_every {self.validate_every} is no multiple of log_every {self.log_every}"
            )
        return self


ValidationFigure = Literal["validation_loss", "exact_match"]  # chooses the weights to keep


class Best(Section):
    """The state of a training that is kept, and early stopping."""

    figure: ValidationFigure  # keep the weights of the best validation by this figure
    patience: Positive | None  # stop after this many validations without a better one; null: never


class Interpolation(Section):
    """Interpolation between the weights before and after training."""

    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]  # to try
    figure: ValidationFigure  # keep the share that is best by this figure


class Replay(Section):
    """Windows of pretraining text that are replayed while a task is learned."""

    share: Annotated[float, Field(gt=0, le=1)]  # of the steps
    windows: BatchSize  # number of windows at each of these steps
    mask_documents: bool  # true: attention stays within a document, as in stage pretrain


class PreferenceLoss(Section):
    """The loss of DPO and its variants. SimPO is reference-free and length-normalised, with a
    margin.
    """

    beta: Rate  # reward per nat above the reference
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]  # share assumed the wrong way round
    reference_free: bool  # true: rewards are not compared with the reference
    length_normalised: bool  # true: rewards are per token of the answer
    margin: Annotated[float, Field(ge=0, le=1000)]  # required lead of the chosen answer's reward


class Sampling(Section):
    """Sample texts that are written at every validation, with their own random state."""

    prompts: list[Prompt]
    max_new_tokens: Written
    temperature: Temperature
    top_k: Annotated[int, Field(ge=1, le=10**6)] | None
