"""The judge behind a server, where the server is our own."""

import pytest

from llmill.contract.errors import UserError
from llmill.evaluation.judging import judge_client
from llmill.evaluation.judging.settings import JudgeServer
from tests.evaluation import judge_server
from tests.evaluation.judge_server import KEY
from tests.serve.served import parrots, serving

ROWS = [
    {"instruction": "Name the capital.", "input": "Italy", "output": "Rome", "answer": answer}
    for answer in ("Rome", "Bern", "")
]


def score(asked: JudgeServer, rows, cache) -> list[float | None]:
    return [each.score for each in judge_client.score(asked, rows, cache)]


def settings(url: str) -> JudgeServer:
    return judge_server.settings(
        f"{url}/v1", model="instruct", retries=0, timeout=60.0, max_tokens=8
    )


def test_an_assistant_of_ours_can_judge_and_its_replies_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "s3cret")
    with serving(parrots("87.", 1024), key="s3cret") as server:
        asked = settings(server.url)
        assert score(asked, ROWS, tmp_path) == [87, 87, 87]
    assert score(asked, ROWS, tmp_path) == [87, 87, 87]


def test_a_key_that_is_refused_is_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    with (
        serving(parrots("87."), key="s3cret") as server,
        pytest.raises(UserError, match=rf"answers 401 .*set {KEY} to a valid key"),
    ):
        score(settings(server.url), ROWS, tmp_path)


def test_a_question_longer_than_the_context_is_one_line(tmp_path):
    with (
        serving(parrots("87.", 256)) as server,
        pytest.raises(UserError, match=r"answers 400 .*do not fit.* 0 of 3 answers"),
    ):
        score(settings(server.url), ROWS, tmp_path)
