"""The sections of `params.yaml` that define a transformer: by switches, or by the weights that it
begins from and the changes to them; and its adapters.
"""

from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from llmill.contract.values import Context, Rate, Section, Share
from llmill.model import shapes

RotaryBase = Annotated[float, Field(ge=1, le=1e12)]
S = TypeVar("S", bound=Section)


class RotaryScaling(Section):
    """Scaling of rotary positions for a longer context than in training, as in Llama 3.1. Slow
    pairs turn `factor` times slower, fast pairs as before, and pairs in between gradually so.
    """

    factor: Annotated[float, Field(ge=1, le=10**6)]
    low_frequency_factor: Rate
    high_frequency_factor: Rate
    original_block_size: Context

    @model_validator(mode="after")
    def low_is_below_high(self) -> Self:
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise ValueError("low_frequency_factor must be below high_frequency_factor")
        return self


class Model(Section):
    """A transformer defined by switches; see `llmill.model.transformer`.

    A switch that a checkpoint lacks is off, or as models were before the switch existed. This is
    why a new switch gets a default. `params.yaml` gives every switch.
    """

    n_layer: Annotated[int, Field(ge=1, le=4096)]
    n_head: Annotated[int, Field(ge=1, le=4096)]
    n_kv_head: Annotated[int, Field(ge=1, le=4096)]
    n_embd: Annotated[int, Field(ge=1, le=2**17)]
    block_size: Context
    causal: bool = True  # true: a token attends to those before it; false: to the whole text
    norm: Literal["layernorm", "rmsnorm"]
    norm_weight: bool
    norm_epsilon: Annotated[float, Field(ge=1e-15, le=1)] = 1e-5
    norm_embedding: bool = False
    position: Literal["learned", "rotary"]
    rotary_base: RotaryBase
    rotary_scaling: RotaryScaling | None = None
    mlp: Literal["gelu", "relu2", "swiglu"]
    mlp_hidden: Annotated[int, Field(ge=1, le=2**20)]
    qk_norm: bool = False
    bias: bool
    dropout: Share = 0.0
    tied: bool

    @model_validator(mode="after")
    def heads_divide(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd {self.n_embd} is not divisible by n_head {self.n_head}")
        if self.n_head % self.n_kv_head:
            raise ValueError(f"n_head {self.n_head} is not divisible by n_kv_head {self.n_kv_head}")
        if self.position == "rotary" and (self.n_embd // self.n_head) % 2:
            raise ValueError("rotary positions need an even head size (n_embd / n_head)")
        if self.position == "learned" and self.rotary_scaling is not None:
            raise ValueError("rotary_scaling needs rotary positions; set it to null")
        return self

    def parameters(self, vocab_size: int) -> int:
        """Return the number of parameters in the matrices."""
        head = self.n_embd // self.n_head
        attention = self.n_embd * (2 * self.n_embd + 2 * self.n_kv_head * head)
        mlp = (3 if self.mlp == "swiglu" else 2) * self.n_embd * self.mlp_hidden
        looked_up = vocab_size * (1 if self.tied else 2)
        looked_up += self.block_size if self.position == "learned" else 0
        return self.n_layer * (attention + mlp) + looked_up * self.n_embd


def _whole(section: S) -> S:
    """Raise ValueError for a field that is left to its default: `params.yaml` gives every one."""
    if isinstance(section, Model | Adapter):
        for name in type(section).model_fields:
            if name not in section.model_fields_set:
                raise ValueError(f"missing parameter '{name}'")
    return section


Target = Literal["query", "key", "value", "out", "gate", "up", "down"]


def _refuse_unknown_targets(value: Any) -> Any:
    """Raise ValueError in one line, where a union of types would give a line for each type."""
    known = get_args(Target)
    some = isinstance(value, list) and value and all(each in known for each in value)
    if value != "all" and not some:
        raise ValueError(f"expected all, or some of {', '.join(known)}")
    return value


class Adapter(Section):
    """Low-rank matrices beside the frozen ones of the blocks; see `llmill.model.lora`. As in
    `Model`, defaults are only for checkpoints; `params.yaml` uses `LearntAdapter`.
    """

    rank: Annotated[int, Field(ge=1, le=2**14)]
    alpha: Annotated[float, Field(gt=0, le=10**6)]  # the change is scaled by alpha / rank
    rank_stabilised: bool  # true: scaled by alpha / sqrt(rank) instead
    targets: Annotated[Literal["all"] | list[Target], BeforeValidator(_refuse_unknown_targets)]
    dropout: Share  # on the input of the low-rank matrices
    dora: bool = False  # true: rows are scaled to lengths that are trained as well

    @property
    def scale(self) -> float:
        """The factor of the product of the two matrices."""
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)


LearntAdapter = Annotated[Adapter, AfterValidator(_whole)]


class FromInit(Section):
    """The shape of the weights in `download.init`. Fields that are left out keep the weights'
    value; `rotary_scaling: null` removes their scaling.
    """

    shape: Literal["init"]
    block_size: Context | None = None
    rotary_base: RotaryBase | None = None
    rotary_scaling: RotaryScaling | None = None
    dropout: Share | None = None

    def applied(self, shape: Model) -> Model:
        """Return a shape with the changes of this section."""
        fields = self.model_dump(exclude={"shape"})
        changes = {k: v for k, v in fields.items() if v is not None or k == "rotary_scaling"}
        return Model(**shape.model_dump() | changes)

    @model_serializer(mode="wrap")
    def as_given(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Serialize only the given fields for the record, because `rotary_scaling: null` is a
        change.
        """
        return {k: v for k, v in serialize(self).items() if k in self.model_fields_set}


def _kind_of_shape(fields: Any) -> str:
    """Return the name of the form of `model` that is meant."""
    shape = fields.get("shape") if isinstance(fields, dict) else getattr(fields, "shape", None)
    return FromInit.__name__ if shape == "init" else Model.__name__


Shape = Annotated[
    Annotated[Model, Tag(Model.__name__)] | Annotated[FromInit, Tag(FromInit.__name__)],
    Discriminator(_kind_of_shape),
    BeforeValidator(shapes.expand),
    AfterValidator(_whole),
]
