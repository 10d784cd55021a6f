"""Modelfiles: templates in Go's words, of those that are known; stop tokens and context of all."""

from llmill.tasks.ollama import modelfile
from llmill.tasks.templates import ALPACA, PLAIN
from llmill.text.tokenization.tokenizer import Tokenizer
from tests.evaluation.toys import SMOLLM2, bytes_tokenizer


def chatml_tokenizer() -> Tokenizer:
    special = {"<|endoftext|>": 256, "<|im_start|>": 257, "<|im_end|>": 258}
    return Tokenizer(
        {bytes([b]): b for b in range(256)}, special=special, end_name="<|im_end|>", ends=[256]
    )


def test_our_own_template_becomes_alpacas_in_go():
    assert modelfile("model.gguf", ALPACA, bytes_tokenizer(), 256) == (
        "FROM ./model.gguf\n"
        'TEMPLATE """Below is an instruction that describes a task. Write a response that '
        "appropriately completes the request.\n\n### Instruction:\n"
        "{{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}\n\n### Response:\n"
        '{{ .Response }}<|endoftext|>"""\n'
        'PARAMETER stop "<|endoftext|>"\n'
        "PARAMETER num_ctx 256\n"
    )


def test_the_plain_template_becomes_the_same_in_go():
    assert modelfile("model.gguf", PLAIN, bytes_tokenizer(), 256) == (
        "FROM ./model.gguf\n"
        'TEMPLATE """User: {{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}\n'
        'Assistant:{{ .Response }}<|endoftext|>"""\n'
        'PARAMETER stop "<|endoftext|>"\n'
        "PARAMETER num_ctx 256\n"
    )


def test_chatml_keeps_the_system_message_that_its_template_puts_where_none_is_given():
    assert modelfile("a.gguf", SMOLLM2, chatml_tokenizer(), 8192) == (
        "FROM ./a.gguf\n"
        'TEMPLATE """{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}'
        "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}"
        '<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"""\n'
        'SYSTEM """You are a helpful AI assistant named SmolLM, trained by Hugging Face"""\n'
        'PARAMETER stop "<|endoftext|>"\n'
        'PARAMETER stop "<|im_end|>"\n'
        "PARAMETER num_ctx 8192\n"
    )
    plain = SMOLLM2.partition("{% if loop")[0] + SMOLLM2.partition("{% endif %}")[2]
    assert "SYSTEM" not in modelfile("a.gguf", plain, chatml_tokenizer(), 8192)


def test_a_template_of_another_form_is_left_out_since_llama_cpp_reads_the_one_inside():
    for template in (None, "{{ messages[0]['content'] }}", "{{ raise_exception('no') }}", "{% if"):
        assert modelfile("a.gguf", template, bytes_tokenizer(), 64) == (
            'FROM ./a.gguf\nPARAMETER stop "<|endoftext|>"\nPARAMETER num_ctx 64\n'
        )
