"""The schema of `params.yaml`: every parameter, its type and its range. A parameter has its value
in `params.yaml` (or a preset) and no default here. The checks between sections: `agreement.py`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from llmill.contract import agreement, shapes
from llmill.contract.values import Dtype, Natural, Positive, Rate, Share, Threads

DATA_STAGES = (
    "paths",
    "code",
    "download",
    "prepare",
    "tokenizer",
    "tokenize",
)  # the others write results
OWN = ".llmill"  # of stage paths: DVC removes it before anybody looks, so nothing else lies there
LAYOUT = {"pretrain": ("processes", "parallel")}  # by section: how work is spread, not what it is


class Section(BaseModel):
    """A strict, frozen part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Paths(Section):
    """The two roots; `paths.pretrain` is the folder of stage `pretrain` below its root."""

    data: str
    results: str

    def __getattr__(self, stage: str) -> str:
        if stage.startswith("_"):
            raise AttributeError(stage)
        root = self.data if stage in DATA_STAGES else self.results
        return f"{root}/{OWN if stage == 'paths' else stage}"


class World(Section):
    """Size of the built-in data."""

    seed: Natural
    repeats: Positive  # documents written about each fact, roughly
    messages: Positive  # classification messages
    instructions: Positive
    questions: Positive  # test questions at most per subject


class Download(Section):
    """Sources by role: names in `sources.yaml`, or `world`, and for text `news`, both generated;
    `init`, the weights to begin from, may also be a folder, which is known by a `/` in it.
    """

    text: Annotated[list[str], Field(min_length=1)]
    classification: str
    instruction: str
    mmlu: str
    tokenizer: str | None
    init: str | None
    retries: Natural
    timeout: Rate  # seconds without a byte
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

    shingle_words: Positive
    similarity: Annotated[float, Field(gt=0, le=1)]
    permutations: Positive


class Contamination(Section):
    """A document goes if it holds `words` consecutive words of an evaluation text, or a whole
    shorter one.
    """

    words: Positive
    shortest: Positive  # texts of fewer words are looked for as whole documents only


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
    weights: dict[str, Annotated[float, Field(ge=0)]]  # times each document of a source is seen
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
    processes: Positive


class RotaryScaling(Section):
    """Rotary positions for a longer context than the one trained on, as in Llama 3.1: slow pairs
    turn `factor` times slower, fast ones as before, those between by degrees.
    """

    factor: Annotated[float, Field(ge=1)]
    low_frequency_factor: Rate
    high_frequency_factor: Rate
    original_block_size: Positive

    @model_validator(mode="after")
    def low_is_below_high(self) -> Self:
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise ValueError("low_frequency_factor must be below high_frequency_factor")
        return self


class Model(Section):
    """One transformer by switches; see `llmill.model.transformer`."""

    n_layer: Positive
    n_head: Positive
    n_kv_head: Positive
    n_embd: Positive
    block_size: Positive
    causal: bool  # a token sees those before it; or the whole text
    norm: Literal["layernorm", "rmsnorm"]
    norm_weight: bool
    norm_epsilon: Rate
    norm_embedding: bool
    position: Literal["learned", "rotary"]
    rotary_base: Rate
    rotary_scaling: RotaryScaling | None
    mlp: Literal["gelu", "relu2", "swiglu"]
    mlp_hidden: Positive
    qk_norm: bool
    bias: bool
    dropout: Share
    tied: bool

    @model_validator(mode="after")
    def heads_divide(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not divisible by n_head {self.n_head}")
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_head {self.n_head} is not divisible by n_kv_head {self.n_kv_head}")
        if self.position == "rotary" and (self.n_embd // self.n_head) % 2:
            raise ValueError("rotary positions need an even head size (n_embd / n_head)")
        return self


class FromInit(Section):
    """The shape of the weights in `download.init`. What is left out here stays as it is there;
    `rotary_scaling: null` takes theirs away.
    """

    shape: Literal["init"]
    block_size: Positive | None = None
    rotary_base: Rate | None = None
    rotary_scaling: RotaryScaling | None = None
    dropout: Share | None = None

    def applied(self, shape: Model) -> Model:
        """A shape with the changes."""
        given = self.model_dump(exclude={"shape"})
        changes = {k: v for k, v in given.items() if v is not None or k == "rotary_scaling"}
        return Model(**shape.model_dump() | changes)

    @model_serializer(mode="wrap")
    def as_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was left out stays out of the record: `rotary_scaling: null` is a change."""
        return {k: v for k, v in serialize(self).items() if k in self.model_fields_set}


def _kind_of_shape(fields: Any) -> str:
    """Which of the two forms of `model` is meant."""
    shape = fields.get("shape") if isinstance(fields, dict) else getattr(fields, "shape", None)
    return FromInit.__name__ if shape == "init" else Model.__name__


Shape = Annotated[
    Annotated[Model, Tag(Model.__name__)] | Annotated[FromInit, Tag(FromInit.__name__)],
    Discriminator(_kind_of_shape),
    BeforeValidator(shapes.named),
]


class Optimizer(Section):
    kind: Literal["adamw", "muon"]  # muon: for the matrices; AdamW for everything else
    lr: Rate
    muon_lr: Rate
    weight_decay: Annotated[float, Field(ge=0)]
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
    epochs: Rate | None
    batch_size: Positive
    grad_accum_steps: Positive
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

    prompts: list[str]
    max_new_tokens: Positive
    temperature: Annotated[float, Field(ge=0)]
    top_k: Positive | None


class Pretrain(Section):
    seed: Natural
    threads: Threads  # of each process
    processes: Positive  # of which each takes an equal part of every batch
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
    seed: Natural
    threads: Threads
    max_length: Annotated[int, Field(ge=2)]  # <|endoftext|> and the last tokens of a message
    class_weights: Literal["none", "balanced"]
    training: Training


class Instruct(Section):
    seed: Natural
    threads: Threads
    mask_prompt: bool  # loss on the response only
    training: Training
    max_new_tokens: Positive  # of an answer to a test instruction


class Grader(Section):
    seed: Natural
    threads: Threads
    responses: Positive  # graded responses made from each training reference
    training: Training


class Accuracy(Section):
    seed: Natural
    threads: Threads
    confidence: Annotated[float, Field(gt=0, lt=1)]
    bootstrap: Positive


class Mmlu(Section):
    threads: Threads
    subjects: list[str]  # empty: all
    shots: Annotated[int, Field(ge=0, le=5)]
    max_questions: Positive | None  # per subject; null: all
    batch_size: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]


class JudgeServer(Section):
    """A server with the OpenAI interface; the key is read from the environment."""

    base_url: str
    model: str
    key_variable: str
    seed: Natural
    retries: Natural
    timeout: Rate


class Judge(Section):
    seed: Natural
    threads: Threads
    backend: Literal["grader", "openai"]
    openai: JudgeServer
    confidence: Annotated[float, Field(gt=0, lt=1)]
    bootstrap: Positive


class Export(Section):
    dtype: Dtype  # of the weights on disk


class Report(Section):
    title: str
    examples: Positive  # best and worst answers shown


class Params(Section):
    """The whole tree. `name` is the MLflow experiment and no stage's parameter."""

    name: Annotated[str, Field(min_length=1)]
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
