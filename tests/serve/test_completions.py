"""`/v1/completions`, asked by the official client, against the model itself."""

import pytest
import torch

from llmill.models import LanguageModel
from llmill.serve.limits import Limits
from llmill.serve.served import Served
from tests.evaluation.toys import bytes_tokenizer
from tests.serve import served
from tests.serve.served import END, TOKENIZER, alone, random_models, serving

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
    assert choice.logprobs.tokens == ["8", "7", ".", "<|endoftext|>"]
    assert choice.logprobs.text_offset == [0, 1, 2, 3]
    assert made.usage.completion_tokens == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("stop", "tokens", "offsets"),
    [
        (None, ["\n", "8", "7", ".", "<|endoftext|>"], [0, 1, 2, 3, 4]),
        ("7.", ["\n", "8", "7", "."], [0, 1, 2, 2]),
    ],
)
def test_every_token_read_and_drawn_has_a_log_probability(parrot, stop, stream, tokens, offsets):
    asked = {"model": "instruct", "prompt": [10], "max_tokens": 9, "echo": True, "logprobs": 1}
    made = parrot.client().completions.create(**asked, stop=stop, stream=stream)
    parts = [part.choices[0] for part in made] if stream else [made.choices[0]]
    told = [part.logprobs for part in parts]
    assert [token for part in told for token in part.tokens] == tokens
    assert [offset for part in told for offset in part.text_offset] == offsets
    logprobs = [logprob for part in told for logprob in part.token_logprobs]
    assert logprobs[0] is None  # nothing stands before it
    assert logprobs[1:] == pytest.approx([0.0] * (len(tokens) - 1), abs=1e-3)
    assert [part.finish_reason for part in parts][-1] == "stop"
    if not stream:
        assert len(tokens) == made.usage.prompt_tokens + made.usage.completion_tokens


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
    assert set(choice.logprobs.text_offset[2:]) == {2}  # of tokens that are not shown
    assert made.usage.completion_tokens == len(choice.logprobs.tokens) < 40


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


@pytest.mark.parametrize("seed", [1, 2**63 - 1])
def test_prompts_of_a_request_draw_with_the_seed_and_those_that_follow_it(client, seed):
    def asked(prompt, seed):
        made = client.completions.create(
            model="pretrain", prompt=prompt, max_tokens=20, temperature=1.5, seed=seed
        )
        return [choice.text for choice in made.choices]

    texts = asked(["One", "One", "One"], seed)
    assert len(set(texts)) == 3
    assert texts == asked(["One", "One", "One"], seed)
    assert texts[:1] == asked("One", seed)
    if seed == 1:
        assert texts[1:] == asked("One", 2) + asked("One", 3)


@pytest.mark.parametrize("seed", [None, -1])
def test_without_a_seed_each_draw_is_another(client, seed):
    asked = {"model": "pretrain", "prompt": "One", "max_tokens": 20, "temperature": 2, "seed": seed}
    assert len({client.completions.create(**asked).choices[0].text for _ in range(4)}) > 1


@pytest.mark.parametrize(
    "asked",
    [
        {"top_k": -1}, {"top_k": 0}, {"stop": ""}, {"stop": []}, {"stop": [""]},
        {"stop": ["", "never in it"]},
    ],
)  # fmt: skip
def test_a_value_that_means_no_limit_is_none(server, asked):
    plain = {"model": "pretrain", "prompt": "One", "max_tokens": 12, "temperature": 1.2, "seed": 3}
    made = server.post("completions", **plain, **asked).json()
    assert made["choices"] == server.post("completions", **plain).json()["choices"]


def test_minus_one_tokens_are_as_many_as_the_context_and_the_limit_leave(parrot, server):
    made = parrot.client().completions.create(model="instruct", prompt="x\n", max_tokens=-1)
    assert (made.choices[0].text, made.choices[0].finish_reason) == ("87.", "stop")
    asked = {"model": "pretrain", "max_tokens": -1, "temperature": 0}
    usage = server.post("completions", prompt="One", **asked).json()["usage"]
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (4, 512)
    with serving(random_models(), Limits(tokens=9)) as small:
        usage = small.post("completions", prompt=["One", "Two"], **asked).json()["usage"]
    assert usage["completion_tokens"] == 8


def test_fields_that_nothing_knows_are_passed_over_and_named_in_a_header(server):
    plain = {"model": "pretrain", "prompt": "One", "max_tokens": 5, "temperature": 0}
    odd = {"temprature": 2, "é\r\nEvil: 1": [], "min_tokens": None, "grammar": ""}
    response = server.post("completions", **plain, **odd)
    expected = server.post("completions", **plain)
    assert response.status_code == 200
    assert response.json()["choices"] == expected.json()["choices"]
    assert response.headers["Llmill-Ignored"] == "temprature, %C3%A9%0D%0AEvil%3A%201, grammar"
    assert "Llmill-Ignored" not in expected.headers
    options = {"include_usage": True, "continuous_usage_stats": True}
    response = server.post("completions", **plain, stream=True, stream_options=options, cache=1)
    assert response.headers["Llmill-Ignored"] == "cache, stream_options.continuous_usage_stats"
    nulls = {"include_usage": None, "include_obfuscation": None}
    assert server.post("completions", **plain, stream=True, stream_options=nulls).status_code == 200
    many = {f"field_{number}": 1 for number in range(1000)}
    response = server.post("completions", **plain, **many)
    assert response.headers["Llmill-Ignored"].endswith(", field_19, ... (1000)")
