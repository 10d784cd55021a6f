"""A server is asked several things at a time, and fails: nothing is lost, nothing asked twice, and
a budget is not exceeded.
"""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import httpx
import pytest

from llmill.contract.errors import Stopped, UserError
from llmill.evaluation.judging import asking, completions
from llmill.evaluation.judging.asking import ask, wanted
from tests.evaluation.judge_server import CRASH, HANG, chat, serving, settings
from tests.waiting import until

TWELVE = [f"question {n}" for n in range(12)]
BUSY = (429, "busy", {"Retry-After": "0.01"})
GARBAGE = (200, "<html>proxy</html>")
FAULTS = [BUSY, (503, "starting"), HANG, CRASH, GARBAGE, (200, '{"choices": []}')]


@pytest.fixture
def server():
    with serving() as running:
        running.reply = text_of
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(asking, "BACKOFF", 0.0)


@pytest.fixture
def askers(monkeypatch) -> list:
    """What the threads of each run share: `stop` is set once a failure or a signal is known."""
    made = []

    class Asker(asking._Asker):
        def __init__(self, *of):
            super().__init__(*of)
            made.append(self)

    monkeypatch.setattr(asking, "_Asker", Asker)
    return made


def text_of(request) -> str:
    return request["messages"][0]["content"]


def asked(to, texts, cache, progress=lambda done, total: None):
    groups = [[completions.request(to, text)] for text in texts]
    found = ask(to, groups, cache, "answers", progress)
    assert all(len(group) == 1 for group in found)
    return [group[0].text for group in found]


@pytest.mark.parametrize("at_once", [1, 5])
def test_replies_come_in_the_order_of_the_requests(server, tmp_path, at_once):
    seen = []
    found = asked(
        settings(server.url, concurrency=at_once), TWELVE, tmp_path, lambda *at: seen.append(at)
    )
    assert found == TWELVE
    assert seen == [(n, 12) for n in range(1, 13)]


def test_so_many_are_asked_at_once_and_no_more(server, tmp_path):
    """Three replies wait for one another, so fewer at once would never end."""
    together, under_way, most = threading.Barrier(3), [], []

    def reply(request):
        under_way.append(request)
        most.append(len(under_way))
        together.wait(10)
        time.sleep(0.02)  # a fourth would be seen
        under_way.pop()
        return text_of(request)

    server.reply = reply
    assert asked(settings(server.url, concurrency=3), TWELVE, tmp_path) == TWELVE
    assert max(most) == 3


def test_equal_requests_are_asked_once_also_at_once(server, tmp_path):
    texts = TWELVE[:2] * 10
    assert asked(settings(server.url, concurrency=8), texts, tmp_path) == texts
    assert len(server.asked) == 2


def test_what_another_run_is_asking_is_waited_for(server, tmp_path):
    to, cache = settings(server.url, concurrency=4), tmp_path / "cache"
    found = {}
    runs = [
        threading.Thread(target=lambda n=n: found.update({n: asked(to, TWELVE, cache)}))
        for n in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert found == dict.fromkeys(range(3), TWELVE)
    assert len(server.asked) == 12


def test_every_fault_passes_and_only_what_was_not_answered_is_asked_again(
    server, tmp_path, monkeypatch
):
    """Each question has its own fault, once or twice; then it is answered."""

    def fault(request, before):
        number = int(text_of(request).split()[1])
        return FAULTS[number % 6] if before <= number // 6 else None

    def impatient(client, url, *, json):
        """Waits briefly where nothing comes, and long where a busy machine may be late."""
        with asking_one:
            tried[text_of(json)] += 1
            answer = fault(json, tried[text_of(json)] - 1)
        return post(client, url, json=json, timeout=1.0 if answer == HANG else 60.0)

    asking_one, tried, post = threading.Lock(), Counter(), httpx.Client.post
    monkeypatch.setattr(httpx.Client, "post", impatient)
    server.fault = fault
    to = settings(server.url, concurrency=4)
    assert asked(to, TWELVE, tmp_path) == TWELVE
    assert Counter(server.times.values()) == {2: 6, 3: 6}
    assert asked(to, TWELVE, tmp_path) == TWELVE
    assert len(server.asked) == 6 * 2 + 6 * 3


def test_a_failure_keeps_what_others_were_answered_and_the_same_command_goes_on(
    server, tmp_path, askers
):
    """The fourth question is refused while the first three are being answered."""
    cache, together = tmp_path / "cache", threading.Barrier(4)

    def fault(request, before):
        together.wait(30)  # all four are asked before one is refused
        return (400, "a bad question") if text_of(request) == "question 3" else None

    def reply(request):
        assert askers[0].stop.wait(30)  # until the refusal has been read
        return text_of(request)

    server.fault, server.reply = fault, reply
    to = settings(server.url, concurrency=4)
    with pytest.raises(UserError) as error:
        asked(to, TWELVE, cache)
    assert str(error.value) == (
        f"judge.openai: {server.url}/chat/completions: answers 400 (a bad question); 3 of 12 "
        f"answers are scored and kept in {cache}, the same command goes on from there"
    )
    assert len(server.asked) == 4
    server.fault, server.reply = lambda request, before: None, text_of
    assert asked(to, TWELVE, cache) == TWELVE
    assert server.times[json.dumps(completions.request(to, "question 3"), sort_keys=True)] == 2
    assert len(server.asked) == 13


def test_of_several_failures_the_first_request_s_is_told(server, tmp_path):
    together = threading.Barrier(4)

    def fault(request, before):
        together.wait(30)
        return (400, f"no to {text_of(request)}")

    server.fault = fault
    with pytest.raises(UserError, match=r"answers 400 \(no to question 0\); 0 of 4 answers"):
        asked(settings(server.url, concurrency=4), TWELVE[:4], tmp_path)


def test_a_group_counts_when_all_of_it_is_answered(server, tmp_path):
    to = settings(server.url)
    groups = [[completions.request(to, "a", n) for n in range(2)] for _ in range(2)]
    groups.append([completions.request(to, "b")])
    server.plan = [(200, chat("1")), (200, chat("2")), (400, "no")]
    with pytest.raises(UserError, match="2 of 3 pairs are scored"):
        ask(to, groups, tmp_path, "pairs")
    assert [request["seed"] for request in server.asked] == [7, 890799651, 7]


def test_a_server_is_asked_again_when_it_says_and_so_is_by_all(server, tmp_path):
    """A request that is sent while the server wants none is refused for good."""
    opened = []
    clock = asking.time.monotonic

    def fault(request, before):
        if not opened:
            opened.append(clock() + 0.4)
            return (429, "busy", {"Retry-After": "0.5"})
        return (400, "too early") if clock() < opened[0] else None

    server.fault = fault
    assert asked(settings(server.url), TWELVE[:3], tmp_path) == TWELVE[:3]


def test_a_wait_of_hours_is_one_line(server, tmp_path):
    server.plan = [(429, "come back tomorrow", {"Retry-After": "86400"})]
    with pytest.raises(UserError, match=r"\(come back tomorrow\) and asks to wait 86,400 seconds"):
        asked(settings(server.url), TWELVE, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0), ("", 0.0), ("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("nan", 0.0), ("inf", 0.0), ("soon", 0.0),
        ("Sun, 29 Nov 2026 10:01:30 GMT", 90.0), ("Sun, 29 Nov 2026 09:00:00 GMT", 0.0), ("Sun, 29 Nov 2026 10:01:30", 0.0),
    ],
)  # fmt: skip
def test_the_wait_that_is_asked_for_is_a_number_or_a_date(header, seconds):
    assert wanted(header, datetime(2026, 11, 29, 10, tzinfo=UTC)) == seconds


def test_a_full_disk_is_no_server_s_fault_and_stops_the_run(server, tmp_path):
    (tmp_path / "cache").mkdir()
    to = settings(server.url)
    key = asking._key(to, completions.request(to, "question 0"))
    (tmp_path / "cache" / f"{key}.json.tmp").mkdir()  # where the reply would be written
    with pytest.raises(IsADirectoryError):
        asked(to, TWELVE, tmp_path / "cache")
    assert len(server.asked) == 1


@pytest.fixture
def stopped_by_a_signal():
    def receive(signum, frame):
        raise Stopped(signum)

    before = signal.signal(signal.SIGUSR1, receive)
    yield
    signal.signal(signal.SIGUSR1, before)


def to_the_process():
    os.kill(os.getpid(), signal.SIGUSR1)


def to_this_thread():
    """As a signal that comes just before the main thread waits: it interrupts no wait."""
    until(lambda: place_of_main()[0] == "_next")
    place = place_of_main()
    until(lambda: place_of_main() == place)  # it has begun to wait
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)


def place_of_main() -> tuple[str, int]:
    """Function and instruction at which the main thread is, after it had time to go on."""
    time.sleep(0.01)
    frame = sys._current_frames()[threading.main_thread().ident]
    return frame.f_code.co_name, frame.f_lasti


@pytest.mark.parametrize("send", [to_the_process, to_this_thread])
@pytest.mark.parametrize("number", range(2))
def test_a_signal_ends_the_run_and_keeps_the_replies_under_way(
    server, tmp_path, stopped_by_a_signal, askers, number, send
):
    """The first may come while the threads are being started."""

    def reply(request):
        if text_of(request) == f"question {number}":
            send()
        assert askers[0].stop.wait(30)
        return text_of(request)

    server.reply = reply
    with pytest.raises(Stopped):
        asked(settings(server.url, concurrency=2), TWELVE, tmp_path)
    assert len(server.asked) <= 2
    server.reply = text_of
    assert asked(settings(server.url), TWELVE, tmp_path) == TWELVE
    assert set(server.times.values()) == {1}


PRICE = {"input": 1.0, "output": 10.0}
# A question may take its 10 bytes and 256 tokens of a template, and 64 tokens of a reply.


@pytest.mark.parametrize(
    ("budget", "replies", "line"),
    [
        ({"tokens": 329, "cost": None}, 0, "the budget of 329 tokens has no room for another request: 0 are spent, and it may take 330; 0 of 12"),
        ({"tokens": 1000, "cost": None}, 7, "the budget of 1,000 tokens has no room for another request: 700 are spent, and it may take 330; 7 of 12"),
        ({"tokens": None, "cost": 0.002}, 6, "the budget of 0.002 has no room for another request: 0.00114 is spent, and it may cost 0.000906; 6 of 12"),
    ],
)  # fmt: skip
def test_a_budget_stops_before_it_could_be_exceeded(server, tmp_path, budget, replies, line):
    """Each reply takes 100 tokens: 90 read and 10 written, or 0.00019."""
    server.plan = [(200, chat(text, usage=(90, 10))) for text in TWELVE]
    to = settings(server.url, price=PRICE, budget=budget)
    limit = "cost" if budget["tokens"] is None else "tokens"
    for _ in range(2):  # what is kept counts, so a second run goes no further
        with pytest.raises(UserError) as error:
            asked(to, TWELVE, tmp_path)
        assert line in str(error.value)
        assert str(error.value).endswith(
            f"kept in {tmp_path}, raise judge.openai.budget.{limit} and the same command goes on "
            "from there"
        )
        assert len(server.asked) == replies
    assert asked(settings(server.url), TWELVE, tmp_path) == TWELVE
    assert len(server.asked) == 12


def test_requests_at_once_share_the_budget_and_use_it_up(server, tmp_path):
    """Room for the most that three can take, and for what seven do."""
    server.plan = [(200, chat("x", usage=(90, 10))) for _ in TWELVE]
    to = settings(server.url, concurrency=6, budget={"tokens": 1000, "cost": None})
    with pytest.raises(UserError, match="7 of 12"):
        asked(to, TWELVE, tmp_path)
    assert len(server.asked) == 7


@pytest.mark.parametrize(
    ("answer", "asked_times"),
    [(HANG, 1), (CRASH, 1), (GARBAGE, 1), ((504, "too slow"), 1), ((503, "busy"), 3)],
)
def test_a_reply_that_was_lost_counts_as_it_may_have_been(server, tmp_path, answer, asked_times):
    server.plan = [answer] * 3
    timeout = 0.2 if answer == HANG else 30.0
    to = settings(server.url, timeout=timeout, budget={"tokens": 600, "cost": None})
    with pytest.raises(UserError, match="budget of 600 tokens" if asked_times == 1 else "3 times"):
        asked(to, TWELVE, tmp_path)
    until(lambda: len(server.asked) >= asked_times)  # which a busy server notes late
    assert len(server.asked) == asked_times


def test_a_reply_without_a_count_counts_as_the_most_that_it_can_be(server, tmp_path):
    to = settings(server.url, budget={"tokens": 700, "cost": None})
    with pytest.raises(UserError, match=r"660 are spent, and it may take 330; 2 of 12"):
        asked(to, TWELVE, tmp_path)
