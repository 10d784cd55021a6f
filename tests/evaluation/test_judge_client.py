"""The judge behind a server, against a real one on loopback: what is asked, kept, retried and refused."""

import json

import pytest

from llmill.contract.errors import UserError
from llmill.evaluation.judging import asking, judge_client
from llmill.evaluation.judging.completions import Reply
from llmill.evaluation.judging.judge_client import PairReplies
from llmill.evaluation.statistics.intervals import share
from tests.evaluation.judge_server import KEY, chat, serving, settings

ROWS = [
    {"instruction": "Name the capital.", "input": "France", "output": "Paris", "answer": "Paris"},
    {"instruction": "Name the capital.", "input": "Italy", "output": "Rome", "answer": "Bern"},
    {"instruction": "Say hello.", "input": "", "output": "Hello", "answer": ""},
]


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(asking, "BACKOFF", 0.0)
    monkeypatch.delenv(KEY, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def score(asked, rows, cache):
    """The scores alone."""
    return [each.score for each in judge_client.score(asked, rows, cache)]


def test_each_answer_is_asked_about_once_at_temperature_0(server, tmp_path):
    assert score(settings(server.url), ROWS, tmp_path / "cache") == [50, 50, 50]
    assert server.paths == ["/v1/chat/completions"] * 3
    assert all(asked["temperature"] == 0 and asked["seed"] == 7 for asked in server.asked)
    assert {asked["model"] for asked in server.asked} == {"judge"}
    text = server.asked[1]["messages"][0]["content"]
    for part in ("Name the capital.", "Italy", "Rome", "Bern", "one integer from 0 to 100"):
        assert part in text


def test_scores_come_in_the_order_of_the_answers(server, tmp_path):
    values = {"France": "100", "Italy": "20", "Say hello": "0"}
    server.reply = lambda request: next(v for k, v in values.items() if k in str(request))
    assert score(settings(server.url), ROWS, tmp_path) == [100, 20, 0]


def test_an_empty_input_or_answer_is_said_to_be_none(server, tmp_path):
    score(settings(server.url), ROWS[2:], tmp_path)
    assert server.asked[0]["messages"][0]["content"].count("(none)") == 2


def test_braces_in_an_answer_are_text(server, tmp_path):
    row = {**ROWS[0], "answer": "{instruction} {0} {"}
    score(settings(server.url), [row], tmp_path)
    assert "{instruction} {0} {" in server.asked[0]["messages"][0]["content"]


def test_a_second_run_asks_nothing(server, tmp_path):
    first = score(settings(server.url), ROWS, tmp_path)
    assert score(settings(server.url), ROWS, tmp_path) == first
    assert len(server.asked) == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_second_run_needs_no_server(tmp_path):
    with serving() as server:
        address = settings(server.url)
        first = score(address, ROWS, tmp_path)
    assert score(address, ROWS, tmp_path) == first


@pytest.mark.parametrize("change", [{"model": "other"}, {"seed": 8}])
def test_another_judge_is_asked_anew(server, tmp_path, change):
    score(settings(server.url), ROWS, tmp_path)
    score(settings(server.url, **change), ROWS, tmp_path)
    assert len(server.asked) == 6


def test_what_was_kept_can_be_read(server, tmp_path):
    server.reply = "7"
    score(settings(server.url), ROWS[:1], tmp_path)
    (kept,) = tmp_path.iterdir()
    value = json.loads(kept.read_text())
    assert value["reply"] == "7"
    assert value["request"] == server.asked[0]
    assert len(kept.stem) == 64


def test_a_damaged_kept_reply_is_named(server, tmp_path):
    score(settings(server.url), ROWS[:1], tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text("{")
    with pytest.raises(UserError, match=f"{kept.name}: damaged; remove it"):
        score(settings(server.url), ROWS[:1], tmp_path)


def test_the_key_goes_into_the_header_and_nowhere_else(server, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "s3cret")
    score(settings(server.url), ROWS[:1], tmp_path)
    assert server.keys == ["Bearer s3cret"]
    assert "s3cret" not in next(tmp_path.iterdir()).read_text()


def test_a_local_server_needs_no_key(server, tmp_path):
    score(settings(server.url), ROWS[:1], tmp_path)
    assert server.keys == [None]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(server, tmp_path, status):
    server.plan = [(status, "busy"), (status, "busy")]
    assert score(settings(server.url), ROWS[:1], tmp_path) == [50]
    assert len(server.asked) == 3


def test_an_answer_that_is_no_completion_is_tried_again(server, tmp_path):
    server.plan = [(200, "<html>proxy</html>"), (200, '{"choices": []}')]
    assert score(settings(server.url), ROWS[:1], tmp_path) == [50]


def test_an_answer_nested_deep_is_none_and_half_a_character_is_replaced(server, tmp_path):
    server.plan = [(200, "[" * 200_000 + "]" * 200_000)]
    server.reply = "half \ud83d"
    assert score(settings(server.url), ROWS[:1], tmp_path) == [None]
    assert len(server.asked) == 2
    (kept,) = tmp_path.iterdir()
    assert json.loads(kept.read_text())["reply"] == "half \ufffd"


def test_a_server_that_stays_broken_is_one_line_that_says_what_is_kept(server, tmp_path):
    server.plan = [(200, chat("80")), *[(500, "out\nof memory")] * 3]
    with pytest.raises(UserError) as error:
        score(settings(server.url), ROWS, tmp_path / "cache")
    message = str(error.value)
    assert "\n" not in message
    assert f"{server.url}/chat/completions: answers 500 (out of memory), 3 times" in message
    assert f"1 of 3 answers are scored and kept in {tmp_path / 'cache'}" in message
    assert score(settings(server.url), ROWS, tmp_path / "cache") == [80, 50, 50]
    assert len(server.asked) == 1 + 3 + 2


def test_a_server_that_is_away_is_one_line(tmp_path):
    with serving() as server:
        address = settings(server.url)
    with pytest.raises(UserError, match=r"away \(ConnectError: .*, 3 times; 0 of 3 answers"):
        score(address, ROWS, tmp_path)


@pytest.mark.parametrize(
    ("name", "proxy"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("all_proxy", "socks5://127.0.0.1:9"),
        ("ALL_PROXY", "odd"),
    ],
)
def test_a_judge_on_this_machine_is_asked_without_a_proxy(
    server, tmp_path, monkeypatch, name, proxy
):
    monkeypatch.setenv(name, proxy)
    assert score(settings(server.url), ROWS[:1], tmp_path) == [50]


def test_a_judge_that_is_away_behind_a_proxy_is_one_line_that_names_the_proxy(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HTTP_PROXY", "http://me:s3cret@127.0.0.1:9")
    with pytest.raises(UserError) as error:
        score(settings("http://judge.invalid/v1", retries=0), ROWS, tmp_path)
    assert str(error.value).startswith(
        "judge.openai: http://judge.invalid/v1/chat/completions, "
        "through the proxy http://127.0.0.1:9 (HTTP_PROXY): away (ConnectError: "
    )
    assert "s3cret" not in str(error.value)


def test_a_socks_proxy_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://me:s3cret@127.0.0.1:1080")
    with pytest.raises(UserError) as error:
        score(settings("http://judge.invalid/v1"), ROWS, tmp_path)
    assert str(error.value) == (
        "ALL_PROXY = socks5://127.0.0.1:1080: a SOCKS proxy needs the package socksio "
        "(`pip install socksio`); or unset it, or name an HTTP proxy"
    )


def test_a_refused_key_is_not_tried_again_and_says_which_variable(server, tmp_path):
    server.plan = [(401, '{"error": "no key"}')]
    with pytest.raises(UserError, match=rf"answers 401 .*set {KEY} to a valid key; 0 of 3"):
        score(settings(server.url), ROWS, tmp_path)
    assert len(server.asked) == 1


def test_an_address_without_a_scheme_is_not_tried_again(tmp_path):
    with pytest.raises(UserError, match=r"localhost:8000/chat/completions: not an address"):
        score(
            settings("http://h").model_copy(update={"base_url": "localhost:8000"}), ROWS, tmp_path
        )


def test_garbage_is_none_and_is_kept_too(server, tmp_path):
    server.reply = "I would say about 80."
    assert score(settings(server.url), ROWS, tmp_path) == [None, None, None]
    score(settings(server.url), ROWS, tmp_path)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "text": "8"}, {"type": "text", "text": "7"}], 87),
        ([{"type": "thinking", "thinking": "40?"}, {"type": "text", "text": "87"}], 87),
        ([{"type": "reasoning", "text": "40"}, {"type": "output_text", "text": "87"}], 87),
        (["87"], 87),
        ([{"type": "text", "text": "87"}, {"type": "text", "text": " or 88"}], None),
        ([{"type": "text", "text": None}, 5], None),
        ([], None),
        ({"text": "87"}, None),
    ],
)
def test_a_reply_in_parts_is_its_texts_joined(server, tmp_path, content, expected):
    server.reply = content
    assert score(settings(server.url), ROWS[:1], tmp_path) == [expected]


def test_a_refusal_is_no_score_and_its_words_are_kept(server, tmp_path):
    refusal = {"role": "assistant", "content": None, "refusal": "I will not grade."}
    server.plan = [(200, chat(None)), (200, json.dumps({"choices": [{"message": refusal}]}))]
    found = judge_client.score(settings(server.url), ROWS[:2], tmp_path)
    assert [each.score for each in found] == [None, None]
    assert [each.unread for each in found] == [[""], ["I will not grade."]]


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ({"role": "assistant", "refusal": "I will not grade."}, "I will not grade."),
        ({"role": "assistant", "reasoning_content": "87, I think."}, ""),
        ({}, ""),
    ],
)
def test_a_message_without_content_is_an_empty_text_and_is_not_asked_for_again(
    server, tmp_path, message, kept
):
    server.plan = [(200, json.dumps({"choices": [{"message": message}]}))]
    (found,) = judge_client.score(settings(server.url), ROWS[:1], tmp_path)
    assert (found.score, found.unread) == (None, [kept])
    assert len(server.asked) == 1


@pytest.mark.parametrize("message", ["87", ["87"], None])
def test_what_is_no_message_is_asked_for_again(server, tmp_path, message):
    server.plan = [(200, json.dumps({"choices": [{"message": message}]}))]
    assert score(settings(server.url), ROWS[:1], tmp_path) == [50]


def test_several_samples_are_a_mean_and_a_spread_and_each_is_kept(server, tmp_path):
    server.plan = [(200, chat(text)) for text in ("80", "I like it.", "90")]
    asked = settings(server.url, samples=3, temperature=0.7)
    (found,) = judge_client.score(asked, ROWS[:1], tmp_path)
    assert (found.samples, found.score) == ([80, None, 90], 85.0)
    assert found.spread == pytest.approx(50**0.5)
    assert found.unread == ["I like it."]
    assert len({request["seed"] for request in server.asked}) == 3
    assert {request["temperature"] for request in server.asked} == {0.7}
    assert judge_client.score(asked, ROWS[:1], tmp_path) == [found]
    assert score(settings(server.url, temperature=0.7), ROWS[:1], tmp_path) == [80]  # the first
    assert len(server.asked) == 3


def test_samples_of_two_seeds_share_none(server, tmp_path):
    for seed in (1, 2):
        score(settings(server.url, samples=20, seed=seed), ROWS[:1], tmp_path)
    assert len({request["seed"] for request in server.asked}) == 40


def test_a_reply_that_was_cut_is_not_read(server, tmp_path):
    """It may have been 87."""
    server.plan = [(200, chat("8", finish="length"))]
    (found,) = judge_client.score(settings(server.url), ROWS[:1], tmp_path)
    assert (found.score, found.unread) == (None, ["8"])


def test_another_prompt_is_asked_anew_and_one_of_pairs_scores_nothing(server, tmp_path):
    score(settings(server.url), ROWS, tmp_path)
    score(settings(server.url, prompt="score-2"), ROWS, tmp_path)
    assert len(server.asked) == 6
    with pytest.raises(UserError, match=r"pair-1.txt: has the fields {answer_a}, .* take another"):
        score(settings(server.url, prompt="pair-1"), ROWS, tmp_path)


def sides(*answers):
    return [{"instruction": "Name.", "input": str(n), "output": "Rome", "answer": answer}
            for n, answer in enumerate(answers)]  # fmt: skip


def test_a_pair_is_asked_in_both_orders_and_a_disagreement_is_a_tie(server, tmp_path):
    """By input: the judge prefers Rome, the first place, nobody, the second place; twice it cannot
    be read, and once the answers are equal.
    """

    def reply(request):
        text = request["messages"][0]["content"]
        number, first = text.split("Input:\n")[1][0], text.index("Rome one") < text.index("Bern")
        says = {"0": "A" if first else "B", "1": "[[A]]", "2": "tie", "3": '{"winner": "B"}',
                "4": "A" if first else "Both are good.", "5": "Neither."}  # fmt: skip
        return says[number]

    server.reply = reply
    one, other = sides(*["Rome one"] * 6, "Same."), sides(*["Bern"] * 6, "same")
    found = judge_client.pairs(settings(server.url, concurrency=3, samples=4), one, other, tmp_path)
    assert [pair.orders for pair in found] == [
        (1.0, 1.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, None), (None, None), (0.5, 0.5),
    ]  # fmt: skip
    assert [pair.score for pair in found] == [1.0, 0.5, 0.5, 0.5, None, None, 0.5]
    assert len(server.asked) == 12
    disagree, place = judge_client.disagreement(found, 0.95), judge_client.first_place(found, 0.95)
    assert (disagree["value"], disagree["n"]) == (0.5, 4)
    # Rome in each place, the first place twice, the second place twice
    assert (place["value"], place["n"]) == (0.5, 6)
    backwards = judge_client.pairs(settings(server.url), other, one, tmp_path)
    assert [pair.score for pair in backwards] == [0.0, 0.5, 0.5, 0.5, None, None, 0.5]
    assert len(server.asked) == 12  # the same questions


def test_a_judge_that_looks_at_the_place_alone_is_seen(server, tmp_path):
    server.reply = "A"
    found = judge_client.pairs(settings(server.url), sides("x", "y"), sides("y", "z"), tmp_path)
    assert judge_client.disagreement(found, 0.95)["value"] == 1.0
    assert judge_client.first_place(found, 0.95)["value"] == 1.0


def test_both_choices_of_a_pair_count_as_one_in_what_is_said_of_the_first_place():
    """Ten pairs, in half of which the first place is chosen twice, tell as much as ten choices."""

    def reply(text):
        return Reply(text, text, False, None)

    judged = [PairReplies((reply(place), reply(place))) for place in "AABBAABBAB"]
    place, of_ten = judge_client.first_place(judged, 0.95), share(5, 10, 0.95)
    assert (place["value"], place["n"]) == (0.5, 20)
    assert place["low"] <= of_ten["low"] < of_ten["high"] <= place["high"]


@pytest.mark.parametrize(
    ("references", "prompt", "said"),
    [
        (["", ""], None, False),
        (["", "Rome"], None, True),
        (["", ""], "pair-1", True),
        (["Rome", "Rome"], "pair-without-reference-1", False),
    ],
)
def test_pairs_of_which_none_has_a_reference_are_asked_about_without(
    server, tmp_path, references, prompt, said
):
    """Unless the prompt is named."""
    server.reply = "A"
    rows = [
        [{**row, "output": output} for row, output in zip(side, references, strict=True)]
        for side in (sides("Rome", "Rome"), sides("Bern", "Bern"))
    ]
    judge_client.pairs(settings(server.url, concurrency=1), *rows, tmp_path, prompt=prompt)
    texts = [request["messages"][0]["content"] for request in server.asked]
    assert ["reference" in text for text in texts] == [said] * 4
