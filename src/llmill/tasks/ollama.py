"""Ollama's `Modelfile`: how Ollama puts a chat to a model in a GGUF file, and where answers end.

Ollama's templates use Go's syntax. Therefore the output of a Jinja template is compared with three
known forms: `alpaca`, `plain` and ChatML. For any other template, the line is left out; llama.cpp
reads the Jinja template in the file.
"""

from datetime import datetime
from typing import Any

from jinja2 import TemplateError

from llmill.text.tokenization import jinja
from llmill.text.tokenization.tokenizer import Tokenizer

SYSTEM, USER, BOS = "a system's message", "a user's message", "<bos>"
ROUND = [  # the texts that our templates put before and after a message
    (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n",
        "\n\n### Response:\n",
    ),
    ("User: ", "\nAssistant:"),
]
MESSAGE = "{{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}"
CHATML = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
    "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
)
CHATML_SYSTEM = ("<|im_start|>system\n", "<|im_end|>\n")
CHATML_USER = f"<|im_start|>user\n{USER}<|im_end|>\n<|im_start|>assistant\n"


def modelfile(gguf: str, template: str | None, tokenizer: Tokenizer, context: int) -> str:
    """Return the text of the Modelfile for the GGUF file of this name in the same folder."""
    lines = [f"FROM ./{gguf}"]
    form, system = _form(template, tokenizer.end_name) if template is not None else (None, None)
    if form is not None:
        lines.append(f'TEMPLATE """{form}"""')
    if system is not None:
        lines.append(f'SYSTEM """{system}"""')
    names = {i: name for name, i in tokenizer.special.items()}
    lines += [f'PARAMETER stop "{names[i]}"' for i in sorted(tokenizer.ends) if i in names]
    lines.append(f"PARAMETER num_ctx {context}")
    return "\n".join(lines) + "\n"


def _form(template: str, end: str) -> tuple[str | None, str | None]:
    """Return the template in Go's syntax, and the system message that is used if none is given."""
    user, system = {"role": "user", "content": USER}, {"role": "system", "content": SYSTEM}
    alone, both = _rendered(template, [user]), _rendered(template, [system, user])
    begin, close = CHATML_SYSTEM
    if both == f"{begin}{SYSTEM}{close}{CHATML_USER}" and alone and alone.endswith(CHATML_USER):
        own = alone.removesuffix(CHATML_USER)
        return CHATML, own.removeprefix(begin).removesuffix(close) or None
    for before, after in ROUND:
        if alone is not None and alone.removeprefix(BOS) == f"{before}{USER}{after}":
            return f"{before}{MESSAGE}{after}{{{{ .Response }}}}{end}", None
    return None, None


def _rendered(template: str, messages: list[dict[str, Any]]) -> str | None:
    """Render messages with the template; None if it refuses them."""
    environment = jinja.environment("", "", datetime.now)
    try:
        return environment.from_string(template).render(
            messages=messages, add_generation_prompt=True, bos_token=BOS, eos_token="<eos>"
        )
    except (TemplateError, TypeError, ValueError):
        return None
