"""The fields of a request, their types and ranges.

A field of the interface that asks for something unsupported is refused by name. A field that the
interface does not know is ignored, as in other servers, and named in a header of the answer.
"""

from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from llmill.contract.values import LEAST_TEMPERATURE
from llmill.model.generate import LEAST_TOP_P, Choice
from llmill.serve.errors import ApiError

# About the sender, or for another kind of service: no answer depends on these.
HARMLESS = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "parallel_tool_calls",
}  # fmt: skip
# Unsupported fields, each with the value that asks for nothing special.
NEUTRAL: dict[str, Any] = {
    "n": 1,
    "best_of": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "suffix": "",
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "tools": [],
    "tool_choice": "none",
    "functions": [],
    "function_call": "none",
}
MOST_STOPS, LONGEST_STOP = 16, 200  # strings (tasks of lm_eval have more than 4); characters
NO_LIMIT = -1
MOST_NAMES, LONGEST_NAME = 20, 100  # of ignored fields: names, characters

Body = TypeVar("Body", bound="TextRequest")


def _prompts(value: Any) -> list[str] | list[list[int]]:
    """Return one prompt or several, each a text or its ids."""
    several = value if isinstance(value, list) else [value]
    if several and all(type(each) is int for each in several):
        several = [several]
    if several and all(isinstance(each, str) for each in several):
        return several
    if several and all(_ids(each) for each in several):
        return several
    raise ValueError("a text, a list of texts, token ids, or a list of token ids; none empty")


def _ids(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(type(each) is int for each in value)


def _stops(value: Any) -> list[str]:
    """Return the stop strings; an empty one, such as a form's empty field, stops nothing."""
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list) or len(several) > MOST_STOPS:
        raise ValueError(f"a text or a list of at most {MOST_STOPS}")
    if not all(isinstance(each, str) and len(each) <= LONGEST_STOP for each in several):
        raise ValueError(f"each a text of at most {LONGEST_STOP} characters")
    return [each for each in several if each]


def _limit(value: int) -> int | None:
    return None if value == NO_LIMIT else value


def _tokens(value: int) -> int | None:
    if value == 0:
        raise ValueError(f"1 or more, or {NO_LIMIT} for as many as fit")
    return _limit(value)


def _top_k(value: int) -> int | None:
    return _limit(value) or None  # 0 also means no limit


def _temperature(value: float) -> float:
    if 0 < value < LEAST_TEMPERATURE:
        raise ValueError(f"0 (the likeliest token), or {LEAST_TEMPERATURE} to 2")
    return value


def _content(value: Any) -> Any:
    """Join parts of text into one text."""
    if not isinstance(value, list):
        return value
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise ValueError("this model reads text alone: parts are {type: text, text: ...}")
        if not isinstance(part.get("text"), str):
            raise ValueError("a part's text is text")
    return "".join(part["text"] for part in value)


class Fields(BaseModel):
    """Strict types: a number in quotes is refused, and so is true for 1."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class StreamOptions(Fields):
    include_usage: bool = False
    include_obfuscation: bool = False  # padding of a stream against eavesdroppers: unsupported

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, value: Any) -> Any:
        """Treat a null as a missing field."""
        if not isinstance(value, dict):
            return value
        return {name: each for name, each in value.items() if each is not None}


class ChatMessage(Fields):
    """A turn, or the instructions for the next one."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_content)]

    @model_validator(mode="before")
    @classmethod
    def _as_it_came(cls, value: Any) -> Any:
        """Accept an answer that is sent back as it came, with all its empty fields."""
        if not isinstance(value, dict):
            return value
        return {
            k: v
            for k, v in value.items()
            if v is not None and (v != [] or k == "content") and k != "name"
        }


class TextRequest(Fields):
    """The fields of every request about how a text is written."""

    model: str
    max_tokens: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2), AfterValidator(_temperature)] = 1.0
    top_p: Annotated[float, Field(ge=LEAST_TOP_P, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=NO_LIMIT), AfterValidator(_top_k)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), AfterValidator(_limit)] | None = None
    stop: Annotated[list[str], BeforeValidator(_stops)] = []
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def choice(self) -> Choice:
        """How each token is chosen."""
        return Choice(
            temperature=self.temperature,
            repetition_penalty=self.repetition_penalty,
            top_k=self.top_k,
            top_p=None if self.top_p == 1 else self.top_p,
            min_p=self.min_p or None,
        )


class Completion(TextRequest):
    """Body of `/v1/completions`."""

    prompt: Annotated[list[str] | list[list[int]], BeforeValidator(_prompts)]
    max_tokens: Annotated[int, Field(ge=NO_LIMIT), AfterValidator(_limit)] | None = 16
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None


class Chat(TextRequest):
    """Body of `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=NO_LIMIT), AfterValidator(_tokens)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=NO_LIMIT), AfterValidator(_tokens)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


def read(kind: type[Body], content: bytes) -> Body:
    """Return the request in a body. Raises an `ApiError` that names the first invalid field."""
    try:
        fields = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body is not a JSON object", code="invalid_json")
    relevant = {name: value for name, value in fields.items() if _matters(kind, name, value)}
    try:
        body = kind.model_validate(relevant)
    except ValidationError as error:
        raise _api_error(error.errors(include_url=False)[0]) from None
    _check(body)
    return body


def passed_over(body: TextRequest) -> str:
    """Return the names of sent fields that had no effect, as a header can hold them."""
    names = list(body.model_extra or {})
    if body.stream_options is not None:
        names += [f"stream_options.{name}" for name in body.stream_options.model_extra or {}]
    shown = [quote(name[:LONGEST_NAME], safe="") for name in names[:MOST_NAMES]]
    more = [f"... ({len(names)})"] if len(names) > MOST_NAMES else []
    return ", ".join(shown + more)


def _matters(kind: type[BaseModel], name: str, value: Any) -> bool:
    """Return whether a field is to be read. Refuses a field that asks for something unsupported."""
    if value is None or name in HARMLESS:
        return False
    if name in kind.model_fields or name not in NEUTRAL:
        return True
    if value == NEUTRAL[name] and not isinstance(value, bool):
        return False
    only = NEUTRAL[name]
    raise ApiError(400, f"{name}: only {only!r} is supported", name, "unsupported_value")


def _api_error(error: Any) -> ApiError:
    param = ""
    for step in error["loc"]:
        param += f"[{step}]" if isinstance(step, int) else f".{step}" if param else step
    reason = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    code = "invalid_value"
    if error["type"] == "missing":
        code, reason = "missing_parameter", "missing"
        if param == "model":
            reason += "; /v1/models lists the names"
    return ApiError(400, f"{param}: {reason}", param or None, code)


def _check(body: TextRequest) -> None:
    """Check fields that must agree with each other."""

    def refuse(param: str, reason: str) -> None:
        raise ApiError(400, f"{param}: {reason}", param, "invalid_value")

    if body.stream_options is not None and not body.stream:
        refuse("stream_options", "only with stream: true")
    if isinstance(body, Completion) and body.max_tokens == 0 and not body.echo:
        refuse("max_tokens", "1 or more, or 0 with echo")
    if isinstance(body, Chat):
        if body.top_logprobs is not None and not body.logprobs:
            refuse("top_logprobs", "only with logprobs: true")
        both = {body.max_tokens, body.max_completion_tokens} - {None}
        if len(both) > 1:
            refuse("max_tokens", "max_completion_tokens says another number")
