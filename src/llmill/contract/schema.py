"""The schema of `params.yaml`: every parameter, its type and its range. A parameter has its value
in `params.yaml` (or a preset) and no default here. The checks between sections: `agreement.py`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llmill.contract import agreement

# Those of a model are part of the schema, so they are had from here.
from llmill.contract.architecture import FromInit, Model, RotaryScaling, Shape  # noqa: F401
from llmill.contract.values import (
    Address,
    Batch,
    Confidence,
    Dtype,
    Few,
    LearningRate,
    Line,
    Natural,
    Positive,
    Prompt,
    Rate,
    Resamples,
    Retries,
    Seconds,
    Section,
    Seed,
    Share,
    Temperature,
    Threads,
    Title,
    Variable,
    Words,
    Written,
)

# The others write results.
DATA_STAGES = ("paths", "code", "download", "prepare", "tokenizer", "tokenize")
OWN = ".llmill"  # of stage paths: DVC removes it before anybody looks, so nothing else lies there
LAYOUT = {"pretrain": ("processes", "parallel")}  # by section: how work is spread, not what it is


class Paths(Section):
    """The two roots; `paths.pretrain` is the folder of stage `pretrain` below its root."""

    data: Line
    results: Line

    def __getattr__(self, stage: str) -> str:
        if stage.startswith("_"):
            raise AttributeError(stage)
        root = self.data if stage in DATA_STAGES else self.results
        return f"{root}/{OWN if stage == 'paths' else stage}"


class World(Section):
    """Size of the built-in data."""

    seed: Seed
    repeats: Annotated[int, Field(ge=1, le=10_000)]  # documents about each fact, roughly
    messages: Annotated[int, Field(ge=1, le=10**6)]  # classification messages
    instructions: Annotated[int, Field(ge=1, le=10**6)]
    questions: Annotated[int, Field(ge=1, le=10_000)]  # test questions at most per subject


class Download(Section):
    """Sources by role: names in `sources.yaml`, or `world`, and for text `news`, both generated;
    `init`, the weights to begin from, may also be a folder, which is known by a `/` in it.
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
    def sources(self) -> list[str]:
        """Every source named, once, in the order of the roles."""
        named = [*self.text, self.classification, self.instruction, self.mmlu]
        named += [self.tokenizer, None if self.init_folder else self.init]
        return list(dict.fromkeys(filter(None, named)))

    @property
    def init_folder(self) -> str | None:
        """The folder of this machine that `init` names, if it names one."""
        return self.init if self.init and "/" in self.init else None


class NearDuplicates(Section):
    """MinHash: shingles of `shingle_words` words, then exact Jaccard similarity."""

    shingle_words: Words
    similarity: Annotated[float, Field(gt=0, le=0.95)]  # above, 16 permutations have no bands
    permutations: Annotated[int, Field(ge=16, le=1024)]


class Contamination(Section):
    """A document goes if it holds `words` consecutive words of an evaluation text, or a whole
    shorter one.
    """

    words: Words
    shortest: Words  # texts of fewer words are looked for as whole documents only


class Split(Section):
    """Shares of a labelled data set, by a hash of its content; the rest is for training."""

    validate_share: Share
    test_share: Share

    @model_validator(mode="after")
    def something_is_left(self) -> Self:
        if self.validate_share + self.test_share >= 1:
            raise ValueError("validate_share + test_share leave nothing to train on")
        return self


class Prepare(Section):
    weights: dict[Line, Annotated[float, Field(ge=0, le=1000)]]  # times each document is seen
    passage_words: Positive  # prose is cut at paragraph ends into passages of about this length
    validate_share: Share
    near_duplicates: NearDuplicates
    contamination: Contamination
    shard_documents: Positive
    classification: Split
    instruction: Split


class Tokenizer(Section):
    kind: Literal["bpe", "gpt2", "init"]  # init: that of the weights to begin from
    vocab_size: Annotated[int, Field(ge=257, le=1_000_000)] | None  # with <|endoftext|>


class Tokenize(Section):
    processes: Threads


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


class Runtime(Section):
    device: Literal["auto", "cpu", "cuda"]
    dtype: Dtype


class Sampling(Section):
    """Texts written at every validation, from their own random state."""

    prompts: list[Prompt]
    max_new_tokens: Written
    temperature: Temperature
    top_k: Annotated[int, Field(ge=1, le=10**6)] | None


class Pretrain(Section):
    seed: Seed
    threads: Threads  # of each process
    processes: Annotated[
        int, Field(ge=1, le=4096)
    ]  # of which each takes an equal part of every batch
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


class Classify(Section):
    seed: Seed
    threads: Threads
    max_length: Annotated[
        int, Field(ge=2, le=2**24)
    ]  # <|endoftext|> and the last tokens of a message
    class_weights: Literal["none", "balanced"]
    training: Training


class Instruct(Section):
    seed: Seed
    threads: Threads
    mask_prompt: bool  # loss on the response only
    training: Training
    max_new_tokens: Written  # of an answer to a test instruction


class Grader(Section):
    seed: Seed
    threads: Threads
    responses: Few  # graded responses made from each training reference
    training: Training


class Accuracy(Section):
    seed: Seed
    threads: Threads
    confidence: Confidence
    bootstrap: Resamples


class Mmlu(Section):
    threads: Threads
    subjects: list[Line]  # empty: all
    shots: Annotated[int, Field(ge=0, le=5)]
    max_questions: Positive | None  # per subject; null: all
    batch_size: Batch
    confidence: Confidence


class JudgeServer(Section):
    """A server with the OpenAI interface; the key is read from the environment."""

    base_url: Address
    model: Line
    key_variable: Variable
    seed: Seed
    retries: Retries
    timeout: Seconds


class Judge(Section):
    seed: Seed
    threads: Threads
    backend: Literal["grader", "openai"]
    openai: JudgeServer
    confidence: Confidence
    bootstrap: Resamples


class Export(Section):
    dtype: Dtype  # of the weights on disk


class Report(Section):
    title: Title
    examples: Few  # best and worst answers shown


class Params(Section):
    """The whole tree. `name` is the MLflow experiment and no stage's parameter."""

    name: Title
    paths: Paths
    runtime: Runtime
    download: Download
    prepare: Prepare
    tokenizer: Tokenizer
    tokenize: Tokenize
    model: Shape
    pretrain: Pretrain
    classify: Classify
    instruct: Instruct
    grader: Grader
    accuracy: Accuracy
    mmlu: Mmlu
    judge: Judge
    export: Export
    report: Report

    @model_validator(mode="after")
    def sections_agree(self) -> Self:
        agreement.check(self)
        return self
