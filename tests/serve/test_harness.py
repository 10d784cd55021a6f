"""What lm-evaluation-harness's `local-completions` asks of the server, and how it reads what it gets."""

import json

import pytest

from llmill.evaluation.inference.scoring import continuation_logprobs
from llmill.text.tokenization import tokenizer_json
from tests.serve.served import END, TOKENIZER

PAIRS = [(b"Two and two", b" is four"), (b"One", b"x"), (b"One two three four", b" f")]


def likelihood(choice: dict, context: int) -> tuple[float, bool]:
    """A sum over all but the context and the one token that is written, as lm_eval reads it."""
    told = choice["logprobs"]
    own, best = (told[name][context:-1] for name in ("token_logprobs", "top_logprobs"))
    return sum(own), all(value == max(top.values()) for value, top in zip(own, best, strict=True))


def test_texts_are_scored_as_the_evaluations_score_them(server):
    model = server.models["pretrain"].language.model
    texts = [[*before, *after] for before, after in PAIRS]
    asked = {"prompt": texts, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234}
    choices = server.post("completions", model="pretrain", echo=True, **asked).json()["choices"]
    found = [
        likelihood(choice, len(before)) for choice, (before, _) in zip(choices, PAIRS, strict=True)
    ]
    pairs = [(list(before), list(after)) for before, after in PAIRS]
    expected = continuation_logprobs(model, pairs, batch_size=4)
    assert [value for value, _ in found] == pytest.approx(expected, abs=1e-4)
    assert [greedy for _, greedy in found] == [False] * 3


def test_what_the_model_itself_would_write_is_greedy_even_to_the_end(parrot):
    asked = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "echo": True}
    reply = parrot.post("completions", model="instruct", prompt=[[*b"\n87."]], **asked).json()
    assert reply["choices"][0]["logprobs"]["tokens"] == ["\n", "8", "7", ".", "<|endoftext|>"]
    assert likelihood(reply["choices"][0], 1)[1]


def test_as_many_stop_strings_are_taken_as_tasks_have(parrot):
    stop = ["</s>", "Question:", "Q:", "\n\n", "<|im_end|>", "<|endoftext|>", "."]
    reply = parrot.post("completions", model="instruct", prompt="\n", stop=stop, temperature=0)
    assert reply.json()["choices"][0]["text"] == "87"


@pytest.mark.parametrize(("batch_size", "num_concurrent"), [(1, 1), (2, 2)])
def test_the_harness_itself_gets_the_same_through_the_server(
    server, tmp_path, batch_size, num_concurrent
):
    pytest.importorskip("lm_eval", reason="lm_eval is not installed (`pip install '.[harness]'`)")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    from llmill.harness import Harness

    tokenizer_json.write(TOKENIZER, tmp_path / "tokenizer.json")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": TOKENIZER.end_name}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    asked = LocalCompletionsAPI(
        model="pretrain", base_url=f"{server.url}/v1/completions", tokenizer=str(tmp_path),
        tokenizer_backend="huggingface", max_length=512, batch_size=batch_size, num_concurrent=num_concurrent,
    )  # fmt: skip
    ours = Harness(server.models["pretrain"].language)
    assert asked.prefix_token_id == ours.prefix_token_id == END

    scored = [
        Instance("loglikelihood", {}, (before.decode(), after.decode()), 0)
        for before, after in [*PAIRS, (b"", b"Nothing before")]
    ]
    for there, here in zip(asked.loglikelihood(scored), ours.loglikelihood(scored), strict=True):
        assert there == (pytest.approx(here[0], abs=1e-4), here[1])
    rolled = [Instance("loglikelihood_rolling", {}, ("A whole text.",), 0)]
    assert asked.loglikelihood_rolling(rolled) == pytest.approx(
        ours.loglikelihood_rolling(rolled), abs=1e-4
    )
    stop = {"until": ["e", "\n", "Q:", "A:", "zz"], "max_gen_toks": 12}
    written = [Instance("generate_until", {}, ("One", stop), 0)]
    assert asked.generate_until(written) == ours.generate_until(written)
