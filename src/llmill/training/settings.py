"""What the loop needs, whatever it trains; and the texts written along the way."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract.values import (
    Batch,
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
    kind: Literal["adamw", "muon"]  # muon: for the matrices; AdamW for everything else
    lr: LearningRate
    muon_lr: LearningRate
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]


class Schedule(Section):
    decay: Literal["cosine", "linear", "constant_linear"]
    warmup_steps: Natural
    decay_share: Annotated[float, Field(gt=0, le=1)]  # constant_linear: the last share of the steps
    min_factor: Annotated[float, Field(ge=0, le=1)]  # of the peak rate, at the end


class Training(Section):
    """What the loop needs, whatever it trains. Exactly one of `max_steps` and `epochs` is given.
    No steps at all are for `pretrain` with `download.init`: the weights pass through as they are.
    """

    max_steps: Natural | None
    epochs: Annotated[float, Field(gt=0, le=100_000)] | None
    batch_size: Batch
    grad_accum_steps: Batch
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


ValidationFigure = Literal["validation_loss", "exact_match"]  # by which weights are chosen


class Best(Section):
    """Which state of a training is kept, and when it ends early."""

    figure: ValidationFigure  # the weights of its best validation
    patience: Positive | None  # validations without a better one, then it ends; null: never


class Interpolation(Section):
    """Weights between those before a training and those after it."""

    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]  # tried
    figure: ValidationFigure  # the share that is best by it is kept


class Replay(Section):
    """Windows of the pretraining text, learnt beside the task."""

    share: Annotated[float, Field(gt=0, le=1)]  # of the steps
    windows: Batch  # at each of these
    mask_documents: bool  # attention stays within a document, as of pretrain


class PreferenceLoss(Section):
    """DPO's loss with its variants. SimPO's: without a reference, length-normalised, a margin."""

    beta: Rate  # what a nat above the reference is worth
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]  # share taken to be the wrong way round
    reference_free: bool  # true: rewards are log-probabilities, compared with nothing
    length_normalised: bool  # true: rewards are per token of the answer
    margin: Annotated[float, Field(ge=0, le=1000)]  # that a chosen answer's reward must be ahead


class Sampling(Section):
    """Texts written at every validation, from their own random state."""

    prompts: list[Prompt]
    max_new_tokens: Written
    temperature: Temperature
    top_k: Annotated[int, Field(ge=1, le=10**6)] | None
