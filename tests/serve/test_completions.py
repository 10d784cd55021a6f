"""`/v1/completions`, asked by the official client, against the model itself."""

import pytest
import torch

from llmill.models import LanguageModel
from llmill.serve.served import Served
from tests.evaluation.toys import bytes_tokenizer
from tests.serve import served
from tests.serve.served import END, TOKENIZER, alone, serving

PROMPTS = ["One", "", "Two\nthree ", "né🙂"]


def greedy(server, text: str, count: int) -> str:
    return TOKENIZER.decode(alone(server.models["pretrain"], [END, *text.encode()], count))


def logprobs(server, ids: list[int]) -> torch.Tensor:
    """Log-probabilities after each token of a text, (T, V)."""
    with torch.no_grad():
        logits = server.models["pretrain"].language.model(torch.tensor([ids]))[0]
    return logits.double().log_softmax(dim=-1)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_text_goes_on_as_generate_does(server, client, prompt):
    made = client.completions.create(model="pretrain", prompt=prompt, max_tokens=12, temperature=0)
    (choice,) = made.choices
    assert choice.text == greedy(server, prompt, 12)
    assert (made.object, made.model, choice.index) == ("text_completion", "pretrain", 0)
    assert made.usage.prompt_tokens == 1 + len(prompt.encode())
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens
    assert choice.logprobs is None


def test_several_prompts_are_choices_in_their_order(server, client):
    made = client.completions.create(model="pretrain", prompt=PROMPTS, max_tokens=9, temperature=0)
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in made.choices] == [greedy(server, p, 9) for p in PROMPTS]
    assert made.usage.prompt_tokens == sum(1 + len(p.encode()) for p in PROMPTS)


def test_token_ids_are_read_as_they_are(server, client):
    def asked(prompt):
        made = client.completions.create(
            model="pretrain", prompt=prompt, max_tokens=9, temperature=0, echo=True
        )
        return [choice.text for choice in made.choices], made.usage.prompt_tokens

    new = alone(server.models["pretrain"], [79, 110, 101], 9)
    assert asked([79, 110, 101]) == (["One" + TOKENIZER.decode(new)], 3)
    assert asked([[END, 79], [80]])[1] == 3
    assert asked([[END, 79], [80]])[0][0].startswith("<|endoftext|>O")


def test_sixteen_tokens_are_written_where_nothing_is_said(client):
    made = client.completions.create(model="pretrain", prompt="One", seed=1)
    assert made.choices[0].finish_reason == "length"
    assert made.usage.completion_tokens == 16


def test_end_of_text_ends_a_text_and_is_not_shown(parrot):
    made = parrot.client().completions.create(
        model="instruct", prompt="Score:\n", max_tokens=60, logprobs=0
    )
    (choice,) = made.choices
    assert (choice.text, choice.finish_reason) == ("87.", "stop")
    assert choice.logprobs.tokens == ["8", "7", "."]
    assert made.usage.completion_tokens == 4


def test_another_end_that_the_weights_name_ends_a_text_too():
    language = LanguageModel(served.parrot("87.", 512), bytes_tokenizer(), True)
    language.tokenizer.ends |= {ord(".")}
    with serving({"instruct": Served("instruct", language)}) as running:
        made = running.client().completions.create(
            model="instruct", prompt="Score:\n", max_tokens=60
        )
    assert (made.choices[0].text, made.choices[0].finish_reason) == ("87", "stop")


@pytest.mark.parametrize("as_list", [False, True])
def test_a_stop_string_ends_a_text_and_is_not_shown(server, client, as_list):
    whole = greedy(server, "One", 40)
    stop = whole[2:4]
    assert stop not in whole[:3]
    made = client.completions.create(
        model="pretrain",
        prompt="One",
        max_tokens=40,
        temperature=0,
        stop=["never in it", stop] if as_list else stop,
        logprobs=0,
    )
    (choice,) = made.choices
    assert choice.text == whole[:2]
    assert choice.finish_reason == "stop"
    assert choice.logprobs.text_offset[-1] < 2
    assert made.usage.completion_tokens < 40


def test_log_probabilities_with_echo_are_those_of_one_forward_pass(server, client):
    (choice,) = client.completions.create(
        model="pretrain", prompt="One né", max_tokens=6, temperature=0, echo=True, logprobs=3
    ).choices
    ids = [END, *"One né".encode()]
    new = alone(server.models["pretrain"], ids, 6)
    expected = logprobs(server, ids + new)
    told = choice.logprobs
    assert choice.text == "One né" + TOKENIZER.decode(new)
    assert len(told.tokens) == len(ids) - 1 + len(new)
    for place, token in enumerate((ids + new)[1:]):
        row = expected[place]
        assert told.token_logprobs[place] == pytest.approx(float(row[token]), abs=1e-4)
        best = row.topk(3)
        assert sorted(told.top_logprobs[place].values(), reverse=True)[:3] == pytest.approx(
            best.values.tolist(), abs=1e-4
        )
        assert len(told.top_logprobs[place]) == 3 + (token not in best.indices.tolist())
    assert told.tokens[:7] == ["O", "n", "e", " ", "n", "bytes:\\xc3", "bytes:\\xa9"]
    assert told.text_offset[:8] == [0, 1, 2, 3, 4, 5, 5, 6]


def test_a_long_prompt_is_read_and_scored_in_slices_as_at_once(server, client):
    ids = [(11 * place) % 256 for place in range(300)]
    asked = {"model": "pretrain", "prompt": ids, "max_tokens": 9, "temperature": 0}
    plain = client.completions.create(**asked).choices[0]
    (scored,) = client.completions.create(**asked, echo=True, logprobs=1).choices
    new = alone(server.models["pretrain"], ids, 9)
    assert plain.text == TOKENIZER.decode(new)
    assert scored.text.endswith(plain.text)
    rows = logprobs(server, ids + new)
    expected = [float(rows[place, token]) for place, token in enumerate((ids + new)[1:])]
    assert scored.logprobs.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)


def test_a_prompt_can_be_scored_without_a_token_written(server, client):
    ids = [79, 110, 101]
    made = client.completions.create(
        model="pretrain", prompt=ids, max_tokens=0, echo=True, logprobs=0
    )
    (choice,) = made.choices
    expected = logprobs(server, ids)
    assert choice.text == "One"
    assert choice.logprobs.token_logprobs[0] is None
    assert choice.logprobs.top_logprobs[0] is None
    assert choice.logprobs.token_logprobs[1:] == pytest.approx(
        [float(expected[0, 110]), float(expected[1, 101])], abs=1e-4
    )
    assert choice.logprobs.top_logprobs[2] == {"e": choice.logprobs.token_logprobs[2]}
    assert made.usage.completion_tokens == 0


def test_log_probabilities_are_those_before_temperature_and_limits(server, client):
    (choice,) = client.completions.create(
        model="pretrain",
        prompt="One",
        max_tokens=5,
        temperature=1.5,
        seed=4,
        logprobs=1,
        extra_body={"top_k": 2, "repetition_penalty": 1.5},
    ).choices
    told, ids = choice.logprobs, [END, *b"One"]
    for token, logprob in zip(told.tokens, told.token_logprobs, strict=True):
        hexadecimal = token.removeprefix("bytes:\\x")
        content = token.encode() if hexadecimal == token else bytes.fromhex(hexadecimal)
        row = logprobs(server, ids)[-1]
        assert logprob == pytest.approx(float(row[content[0]]), abs=1e-4)
        ids += content


OPTIONS = [
    {"temperature": 0},
    {"temperature": 1.3, "seed": 5},
    {"temperature": 1.0, "seed": 5, "top_p": 0.7, "logprobs": 2, "echo": True},
    {"temperature": 0, "stop": ["Z", "9"], "logprobs": 0},
    {"seed": -3, "extra_body": {"top_k": 9, "min_p": 0.01, "repetition_penalty": 1.2}},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_stream_brings_what_the_whole_answer_holds(client, options):
    asked = {"model": "pretrain", "prompt": PROMPTS, "max_tokens": 24, **options}
    whole = client.completions.create(**asked)
    chunks = list(
        client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {(chunk.id, chunk.object) for chunk in chunks} == {(chunks[0].id, "text_completion")}
    for choice in whole.choices:
        mine = [c for chunk in chunks[:-1] for c in chunk.choices if c.index == choice.index]
        assert "".join(c.text for c in mine) == choice.text
        assert [c.finish_reason for c in mine][-1] == choice.finish_reason
        assert all(c.finish_reason is None for c in mine[:-1])
        if choice.logprobs is not None:
            for name in ("tokens", "token_logprobs", "text_offset"):
                pieces = [value for c in mine for value in getattr(c.logprobs, name)]
                assert pieces == getattr(choice.logprobs, name)


def test_a_stream_ends_in_done_and_holds_ascii_alone(server):
    told = server.post("completions", model="pretrain", prompt="é", echo=True, stream=True)
    assert told.headers["content-type"].startswith("text/event-stream")
    assert told.text.endswith("\n\ndata: [DONE]\n\n")
    assert told.text.isascii()


def test_the_seed_and_nothing_else_decides_a_draw(client):
    def asked(seed, prompt="One"):
        made = client.completions.create(
            model="pretrain", prompt=prompt, max_tokens=20, temperature=1.5, seed=seed
        )
        return made.choices[0].text

    assert asked(1) == asked(1)
    assert asked(1) != asked(2)
    made = client.completions.create(
        model="pretrain", prompt=["Two", "One", "x"], max_tokens=20, temperature=1.5, seed=1
    )
    assert made.choices[1].text == asked(1)


def test_without_a_seed_each_draw_is_another(client):
    asked = {"model": "pretrain", "prompt": "One", "max_tokens": 20, "temperature": 2}
    assert len({client.completions.create(**asked).choices[0].text for _ in range(4)}) > 1
