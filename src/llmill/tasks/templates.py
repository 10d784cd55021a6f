"""The chat templates that an assistant can learn: Alpaca's (Taori et al. 2023), a plain one with
two words, ChatML, or the one that came with the weights.
"""

from datetime import datetime

from llmill.contract.errors import UserError
from llmill.tasks.settings import TemplateName
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer

DAY = datetime(2026, 1, 1)  # the time that templates see: equal data give equal ids

# The content of a message may be a list of parts, as in OpenAI's API.
CONTENT_OF = """\
{%- macro content_of(message) -%}
  {%- if message['content'] is string -%}
    {{- message['content'] -}}
  {%- else -%}
    {%- for part in message['content'] -%}
      {%- if part['type'] != 'text' -%}
        {{- raise_exception("a part of type '" ~ part['type'] ~ "', expected text") -}}
      {%- endif -%}
      {{- part['text'] -}}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
"""

# Each turn is written as if it were the first, after the token that every document begins with.
# System messages and consecutive messages of the user form one task.
ALPACA = (
    CONTENT_OF
    + """\
{%- set turn = namespace(task='') -%}
{%- for message in messages -%}
  {%- if message['role'] == 'assistant' -%}
    {%- if loop.first or loop.previtem['role'] != 'user' -%}
      {{- raise_exception("an answer needs a user's message right before it") -}}
    {%- endif -%}
    {{- '### Response:\\n' ~ content_of(message) ~ eos_token -}}
  {%- elif message['role'] in ['system', 'user'] -%}
    {%- set task = message['instruction'] if message['input'] else content_of(message) -%}
    {%- set turn.task = turn.task ~ '\\n\\n' ~ task if turn.task else task -%}
    {%- if loop.last or loop.nextitem['role'] == 'assistant' -%}
      {{- bos_token ~ 'Below is an instruction that describes a task' -}}
      {%- if message['input'] -%}
        {{- ', paired with an input that provides further context' -}}
      {%- endif -%}
      {{- '. Write a response that appropriately completes the request.\\n\\n' -}}
      {{- '### Instruction:\\n' ~ turn.task ~ '\\n\\n' -}}
      {%- if message['input'] -%}
        {{- '### Input:\\n' ~ message['input'] ~ '\\n\\n' -}}
      {%- endif -%}
      {%- set turn.task = '' -%}
    {%- endif -%}
  {%- else -%}
    {{- raise_exception("unknown role '" ~ message['role'] ~ "'") -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '### Response:\\n' -}}
{%- endif -%}
"""
)

# Like Alpaca's, with two words. The space belongs to the answer, because it begins the answer's
# first word.
PLAIN = (
    CONTENT_OF
    + """\
{%- set turn = namespace(task='') -%}
{%- for message in messages -%}
  {%- if message['role'] == 'assistant' -%}
    {%- if loop.first or loop.previtem['role'] != 'user' -%}
      {{- raise_exception("an answer needs a user's message right before it") -}}
    {%- endif -%}
    {{- 'Assistant: ' ~ content_of(message) | trim ~ eos_token -}}
  {%- elif message['role'] in ['system', 'user'] -%}
    {%- set task = content_of(message) -%}
    {%- set turn.task = turn.task ~ '\\n\\n' ~ task if turn.task else task -%}
    {%- if loop.last or loop.nextitem['role'] == 'assistant' -%}
      {{- bos_token ~ 'User: ' ~ turn.task ~ '\\n' -}}
      {%- set turn.task = '' -%}
    {%- endif -%}
  {%- else -%}
    {{- raise_exception("unknown role '" ~ message['role'] ~ "'") -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- 'Assistant:' -}}
{%- endif -%}
"""
)

IM_END = "<|im_end|>"
CHATML = (
    CONTENT_OF
    + """\
{%- for message in messages -%}
  {{- '<|im_start|>' ~ message['role'] ~ '\\n' ~ content_of(message) ~ '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
)


OWN = {"alpaca": ALPACA, "plain": PLAIN}  # they need no token but the one that ends a text


def source(name: TemplateName, tokenizer: Tokenizer, of_weights: str | None) -> str:
    """Return the text of the template that `instruct.template` names.

    In ChatML, a turn ends with the token that ends a text if the tokenizer has no <|im_end|>.
    Raises `UserError` if the weights came without a template.
    """
    if name in OWN:
        return OWN[name]
    if name == "chatml":
        return CHATML if IM_END in tokenizer.special else CHATML.replace(IM_END, tokenizer.end_name)
    if of_weights is None:
        raise UserError(
            "params.yaml: instruct.template weights: the foundation model has no chat template, "
            "for none came with weights that it began from; the others need none"
        )
    return of_weights


def for_training(text: str, tokenizer: Tokenizer) -> Template:
    """Return the template to train with, which always sees the same time."""
    return Template(text, tokenizer, clock=lambda: DAY)
