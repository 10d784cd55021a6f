"""What a chat template may say: the same as in transformers, and no more."""

from datetime import datetime

import jinja2
import pytest

from llmill.text.tokenization import jinja

RICH = """\
{%- set state = namespace(n=0, seen=[]) %}
{%- macro shout(text) %}{{ text | upper }}!{% endmacro %}
  {% for message in messages %}
    {% if message.role == 'system' %}{% continue %}{% endif %}
    {% set state.n = state.n + 1 %}
{{ loop.index }}/{{ state.n }} {{ message['content'] | trim }} {{ shout(message.role) }}
    {% if state.n == 3 %}{% break %}{% endif %}
  {% endfor %}
{{ {'b': '<é>', 'a': [1, none, true]} | tojson }}
{{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=true) }}
{{ dict(a=1).a }} {{ dict.fromkeys(['x'], 2).x }} {{ tools is none }} {{ documents is none }}
{% if add_generation_prompt %}{{ bos_token }}{% endif %}
{{ strftime_now('%Y') | length }}{% generation %}answer{% endgeneration %}

"""
MESSAGES = [
    {"role": role, "content": f" {role} <&> \n"}
    for role in ("system", "user", "assistant", "user", "assistant")
]


def rendered(source: str, **values) -> str:
    made = jinja.environment("", "", lambda: datetime(2026, 1, 1)).from_string(source)
    return made.render(messages=MESSAGES, tools=None, documents=None, **values)


@pytest.mark.parametrize("prompt", [True, False])
def test_a_template_with_everything_is_rendered_as_in_transformers(prompt):
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    (theirs,), _ = utils.render_jinja_template(
        [MESSAGES], chat_template=RICH, add_generation_prompt=prompt, bos_token="<s>"
    )
    assert rendered(RICH, add_generation_prompt=prompt, bos_token="<s>") == theirs
    assert "2/1 user <&> USER!" in theirs


def test_generation_blocks_stand_between_the_marks():
    made = jinja.environment("<", ">", datetime.now).from_string(
        "{% generation %}{{ x }}{% endgeneration %}."
    )
    assert made.render(x="a") == "<a>."


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ dict.__class__.__base__ }}",
        "{% set n = namespace(_x=1) %}",
        "{% set n = namespace() %}{% set n._x = 1 %}",
        "{{ namespace.__init__.__globals__ }}",
        "{% include 'x' %}",
    ],
)
def test_there_is_no_way_out_of_the_sandbox(source):
    with pytest.raises((jinja2.TemplateError, TypeError)):
        rendered(source)
