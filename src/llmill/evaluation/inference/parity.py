"""Check that other programs compute from an export what llmill computes.

Each installed program loads the files and generates greedily through the template. Every token that
it chooses is compared with llmill's logits after the same tokens. If an answer ends early, it is
continued after its end, until there are 32 tokens or the context is full.

Programs round differently: llama.cpp multiplies in float16, bfloat16 or eight bits. Therefore a
program may choose another token than llmill if llmill's logits of the two tokens differ by no more
than that rounding. Anything else is an error.
"""

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from torch import Tensor

from llmill.contract.errors import UserError
from llmill.contract.values import GgufNumbers
from llmill.model.checkpoint import Checkpoint
from llmill.model.transformer import Transformer
from llmill.tasks.conversation import message
from llmill.text.tokenization.template import Template

TOKENS = 32
MESSAGE, BEGINNING = "What is the capital of France?", "The capital of"
# The largest difference of two logits that rounding may swap: at least twice the difference that
# was measured (SmolLM2-135M, five prompts).
FLOAT32 = 1e-3
NEARNESS: dict[GgufNumbers, float] = {"float16": 0.02, "bfloat16": 0.15, "q8_0": 0.75}


@dataclass(frozen=True)
class Prompted:
    """A prompt and its token ids in llmill: a user's message for an assistant, otherwise the
    beginning of a text.
    """

    text: str
    chat: bool
    ids: list[int]
    count: int  # tokens to generate


@dataclass(frozen=True)
class Continued:
    """The token ids that a program read as the prompt, and those that it generated."""

    read: list[int]
    tokens: list[int]


TokenCounts = dict[str, int]


def question(loaded: Checkpoint[Transformer]) -> Prompted | None:
    """Return the prompt for a model, or None if its context has no room for an answer."""
    tokenizer, chat = loaded.tokenizer, loaded.chat_template is not None
    text = MESSAGE if chat else BEGINNING
    if loaded.chat_template is not None:
        ids = Template(loaded.chat_template, tokenizer).prompt([message("user", text)])
    else:
        ids = [tokenizer.end_of_text, *tokenizer.encode(text)]
    count = min(TOKENS, loaded.model.config.block_size - len(ids))
    return Prompted(text, chat, ids, count) if count > 0 else None


def installed(package: str) -> bool:
    """Return whether a Python package is installed."""
    return importlib.util.find_spec(package) is not None


def rounded(model: Transformer, change: Callable[[str, Tensor], Tensor]) -> Transformer:
    """Return a copy of the model, in evaluation mode, with `change(name, tensor)` applied to every
    tensor: the values that a file stores.
    """
    made = copy.deepcopy(model)
    state = {name: change(name, tensor) for name, tensor in model.state_dict().items()}
    made.load_state_dict(state)
    return made.eval()


@torch.inference_mode()
def compare(
    model: Transformer, question: Prompted, answer: Continued, nearness: float, who: str
) -> TokenCounts:
    """Count the tokens that a program generated, and those that llmill would choose, too. Raise
    `UserError` if another token is farther from llmill's choice than `nearness`, in logits.

    `model` is llmill's, with weights rounded as in the files.
    """
    if len(answer.tokens) != question.count:
        raise UserError(
            f"{who} writes {len(answer.tokens)} tokens after {question.text!r}, asked for "
            f"{question.count}: it does not go on"
        )
    if answer.read != question.ids:
        raise UserError(
            f"{who} reads {question.text!r} as {_short(answer.read)}, llmill as "
            f"{_short(question.ids)}: the export does not say what llmill says"
        )
    idx = torch.tensor([question.ids + answer.tokens])
    logits = model(idx)[0, len(question.ids) - 1 : -1].float()  # (T, V)
    best = logits.max(dim=-1)
    same = 0
    for place, (token, row) in enumerate(zip(answer.tokens, logits, strict=True)):
        distance = float(best.values[place] - row[token])
        if not distance <= nearness:
            raise UserError(
                f"{who} says token {token} at place {place} after {question.text!r}, llmill "
                f"{int(best.indices[place])}, whose logit is {distance:.3f} higher: the export "
                "does not compute what llmill computes"
            )
        same += int(best.indices[place]) == token
    return {"tokens": len(answer.tokens), "same": same}


def by_transformers(folder: Path, question: Prompted) -> Continued:
    """Generate with transformers."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    inputs: Any
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32
    )
    if question.chat:
        inputs = tokenizer.apply_chat_template(
            _messages(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    else:
        inputs = tokenizer(tokenizer.bos_token + question.text, return_tensors="pt")
        inputs.pop("token_type_ids", None)
    read = inputs["input_ids"][0].tolist()
    model.eval()

    def write(ids: list[int], count: int) -> list[int]:
        idx = torch.tensor([ids])
        every = torch.ones_like(idx)  # or it would mask end tokens as padding
        written = model.generate(idx, attention_mask=every, max_new_tokens=count, do_sample=False)
        return list(written[0, len(ids) :].tolist())

    return Continued(read, _written(write, read, question.count))


def by_llama_cpp(file: Path, question: Prompted) -> Continued:
    """Generate with llama.cpp (package xllamacpp), with keys and values cached in float32."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx = len(question.ids) + question.count
    params.n_parallel, params.n_gpu_layers, params.warmup = 1, 0, False
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    disabled = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.flash_attn_type = disabled
    params.use_jinja, params.port, params.verbosity = True, 0, -1
    threads = torch.get_num_threads()
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    try:
        server = xllamacpp.Server(params)
        with httpx.Client(base_url=server.listening_address, trust_env=False) as client:
            text = question.text
            if question.chat:
                text = _said(client, "apply-template", messages=_messages(question))["prompt"]
            special = {"add_special": True, "parse_special": True}
            read = _said(client, "tokenize", content=text, **special)["tokens"]

            def write(ids: list[int], count: int) -> list[int]:
                answer = _said(
                    client, "completion", prompt=ids, n_predict=count, temperature=0,
                    return_tokens=True, cache_prompt=False,
                )  # fmt: skip
                return list(answer["tokens"])

            return Continued(read, _written(write, read, question.count))
    except (RuntimeError, httpx.HTTPError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{file}: llama.cpp does not load it ({reason})") from None


def _written(
    write: Callable[[list[int], int], list[int]], read: list[int], count: int
) -> list[int]:
    """Return `count` tokens after `read`. If generation stops at an end token, call `write` again
    with that token in the prompt.
    """
    tokens: list[int] = []
    while len(tokens) < count and (more := write([*read, *tokens], count - len(tokens))):
        tokens += more
    return tokens


def _said(client: httpx.Client, address: str, **fields: Any) -> dict[str, Any]:
    """Send a request to llama.cpp's own server, which offers what the library does not expose."""
    reply = client.post(f"/{address}", json=fields, timeout=None)
    return dict(reply.raise_for_status().json())


def _short(ids: list[int]) -> str:
    return f"{len(ids)} tokens, {', '.join(map(str, ids[:4]))} ... {', '.join(map(str, ids[-4:]))}"


def _messages(question: Prompted) -> list[dict[str, str]]:
    return [{"role": "user", "content": question.text}]
