"""Many at once: everybody gets the own answer, places are freed, and too many are told so."""

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from llmill.model.generate import Writer
from llmill.model.int8 import in_int8
from llmill.serve import replies, run, worker
from llmill.serve.limits import Limits
from llmill.serve.text import Reading
from tests.model.test_generate import needs_fbgemm
from tests.serve.served import END, TOKENIZER, alone, random_models, serving
from tests.waiting import until


def test_a_hundred_clients_at_once_each_get_their_own_answer(server):
    client = server.client(timeout=120)

    def asked(number: int) -> tuple[str, str]:
        options = {"temperature": 0} if number % 2 else {"temperature": 1.2, "seed": number}
        text, count = f"Text {number}: " + "x" * (number % 7), 10 + number % 13
        if number % 5 == 0:
            made = client.chat.completions.create(
                model="instruct", messages=[{"role": "user", "content": text}], max_tokens=count, **options
            )  # fmt: skip
            return made.choices[0].message.content, made.choices[0].finish_reason
        stream = client.completions.create(
            model=("pretrain", "instruct")[number % 3 == 0], prompt=text, max_tokens=count, stream=True, **options
        )  # fmt: skip
        choices = [chunk.choices[0] for chunk in stream]
        return "".join(choice.text for choice in choices), choices[-1].finish_reason

    one_by_one = [asked(number) for number in range(100)]
    with ThreadPoolExecutor(100) as pool:
        together = list(pool.map(asked, range(100)))
    assert together == one_by_one
    assert len(set(together)) == 100
    server.empty()


def test_those_who_join_later_are_written_beside_those_who_are_there(gate):
    with serving(random_models()) as server:
        client = server.client()

        def asked(text: str) -> str:
            made = client.completions.create(
                model="pretrain", prompt=text, max_tokens=30, temperature=0
            )
            return made.choices[0].text

        with ThreadPoolExecutor(3) as pool:
            answers = []
            for number, text in enumerate(("first", "second one", "3")):
                answers.append(pool.submit(asked, text))
                until(lambda count=number + 1: server.worker.open == count)
            gate.set()
            served = server.models["pretrain"]
            for text, answer in zip(("first", "second one", "3"), answers, strict=True):
                new = alone(served, [END, *text.encode()], 30)
                assert answer.result() == TOKENIZER.decode(new)


@needs_fbgemm
def test_in_eight_bits_nobody_notices_the_others():
    models = {
        name: replace(each, language=replace(each.language, model=in_int8(each.language.model)))
        for name, each in random_models().items()
    }
    with serving(models) as server:
        client = server.client()

        def asked(number: int) -> str:
            made = client.completions.create(
                model="pretrain", prompt=f"{number} " * (1 + 40 * (number % 3)), max_tokens=20,
                temperature=1.0, seed=number,
            )  # fmt: skip
            return made.choices[0].text

        one_by_one = [asked(number) for number in range(12)]
        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(asked, range(12))) == one_by_one
        assert len(set(one_by_one)) == 12
        new = alone(server.models["pretrain"], [END, *b"Two"], 20)
        text = client.completions.create(
            model="pretrain", prompt="Two", max_tokens=20, temperature=0
        )
        assert text.choices[0].text == TOKENIZER.decode(new)


def stream_of(server, **options):
    asked = {"model": "pretrain", "prompt": "One", "max_tokens": 400, "stream": True, **options}
    return httpx.stream("POST", f"{server.url}/v1/completions", json=asked, timeout=30)


def test_a_client_that_leaves_mid_stream_frees_its_place(server):
    before = server.client().completions.create(
        model="pretrain", prompt="Two", max_tokens=20, temperature=0
    )
    for _ in range(5):  # on a busy machine all may be written before the first piece is read
        with stream_of(server, prompt=["One"] * 20) as response:
            next(response.iter_bytes())
            if left_open := server.worker.open:
                break
    assert left_open > 0
    server.empty()
    after = server.client().completions.create(
        model="pretrain", prompt="Two", max_tokens=20, temperature=0
    )
    assert after.choices == before.choices


def test_a_client_that_leaves_while_its_texts_wait_frees_their_places(gate):
    with serving(random_models(), Limits(batch=1)) as server:
        with stream_of(server, prompt=["One"] * 5):
            assert gate.reached.wait(30)
            assert server.worker.open == 5
        until(lambda: server.worker.open == 1)
        gate.set()
        server.empty()
    assert gate.steps == 1


def test_a_client_that_does_not_wait_for_a_whole_answer_frees_its_place(gate):
    with serving(random_models()) as server:
        body = b'{"model": "pretrain", "prompt": "One", "max_tokens": 400}'
        head = b"Content-Type: application/json\r\nContent-Length: %d" % len(body)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as asking:
            asking.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + head)
            asking.sendall(b"\r\n\r\n" + body)
            assert gate.reached.wait(30)
            assert server.worker.open == 1
        until(lambda: server.worker._left)
        gate.set()
        server.empty()
    assert gate.steps == 1


def test_who_comes_when_all_places_are_taken_is_told_to_come_again(gate):
    import openai

    with serving(random_models(), Limits(batch=1, waiting=2)) as server:
        client = server.client()
        asked = {"model": "pretrain", "max_tokens": 3}
        with ThreadPoolExecutor(2) as pool:
            early = [pool.submit(client.completions.create, prompt="One", **asked)]
            until(lambda: server.worker.open == 1)
            early.append(pool.submit(client.completions.create, prompt=["Two", "x"], **asked))
            until(lambda: server.worker.open == 3)
            for stream in (False, True):
                with pytest.raises(openai.RateLimitError) as refused:
                    client.completions.create(prompt="Three", stream=stream, **asked)
                assert refused.value.response.headers["Retry-After"] == "1"
                assert refused.value.code == "rate_limit_exceeded"
            gate.set()
            assert [len(each.result().choices) for each in early] == [1, 2]
        assert client.completions.create(prompt="Three", **asked).choices


def test_a_step_that_fails_is_500_without_a_traceback_and_the_next_one_is_answered(
    monkeypatch, caplog
):
    import openai

    broken = threading.Event()

    class Breaking(Writer):
        made = 0

        def __init__(self, *args):
            super().__init__(*args)
            Breaking.made += 1

        def step(self):
            drawn = super().step()
            if broken.is_set():
                raise RuntimeError("secret detail")
            return drawn

    monkeypatch.setattr(worker, "Writer", Breaking)
    asked = {"model": "pretrain", "prompt": "One", "max_tokens": 3, "temperature": 0}
    with serving(random_models()) as server:
        whole = server.post("completions", **asked).json()["choices"]
        broken.set()
        response = server.post("completions", **asked)
        assert response.status_code == 500
        assert response.json()["error"] == {
            "message": "the server failed; its log says how",
            "type": "server_error",
            "param": None,
            "code": "server_error",
        }
        stream = server.post("completions", **asked, stream=True).text
        assert '"code": "server_error"' in stream
        assert "[DONE]" not in stream
        assert "secret" not in stream
        with pytest.raises(openai.APIError, match="its log says how"):
            list(server.client().completions.create(**asked, stream=True))
        assert "secret detail" in caplog.text
        broken.clear()
        assert server.post("completions", **asked).json()["choices"] == whole
        server.empty()
    assert Breaking.made == 2  # one a model, before and after


def test_a_mistake_of_a_route_is_500_without_a_traceback(monkeypatch):
    def broken(*args):
        raise RuntimeError("secret detail")

    with serving(random_models()) as server:
        monkeypatch.setattr("llmill.serve.app.completion_orders", broken)
        response = server.post("completions", model="pretrain", prompt="One")
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "server_error"
        assert "secret" not in response.text


def test_a_server_that_stops_refuses_what_is_not_finished(gate):
    with serving(random_models()) as server, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.post, "completions", model="pretrain", prompt="One")
        until(lambda: server.worker.open == 1)
        stopping = threading.Thread(target=server.worker.stop)
        stopping.start()
        until(lambda: server.worker._stopping)
        late = server.post("completions", model="pretrain", prompt="One")
        gate.set()
        stopping.join()
        for response in (late, answer.result()):
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "stopping"
            assert response.headers["Retry-After"] == "1"


def test_an_answer_that_does_not_end_in_time_is_broken_off_when_the_server_stops(
    monkeypatch, caplog
):
    class Slow(Writer):
        def step(self):
            threading.Event().wait(0.05)
            return super().step()

    monkeypatch.setattr(worker, "Writer", Slow)
    monkeypatch.setattr(run, "GRACE", 0.2)
    told: list[str] = []
    with contextlib.ExitStack() as ended, serving(random_models()) as server:
        lines = ended.enter_context(stream_of(server)).iter_lines()
        next(lines)
        ended.push(lambda *_: told.extend(lines))
    assert '"code": "stopping"' in told[-2]
    assert "data: [DONE]" not in told
    assert not server.worker._thread.is_alive()
    assert caplog.records == []


def test_a_text_that_is_being_begun_is_counted(monkeypatch):
    begins, goes_on = threading.Event(), threading.Event()

    class Halting(Writer):
        def begin(self, *args):
            begins.set()
            assert goes_on.wait(30)
            return super().begin(*args)

    monkeypatch.setattr(worker, "Writer", Halting)
    with serving(random_models(), Limits(batch=1, waiting=2)) as server:
        asked = {"model": "pretrain", "prompt": ["One", "Two"], "max_tokens": 3}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.post, "completions", **asked)
            assert begins.wait(30)
            counted, late = server.worker.open, server.post("completions", **asked)
            goes_on.set()
            assert (counted, late.status_code, answer.result().status_code) == (2, 429, 200)
        server.empty()


def test_those_who_join_together_are_no_more_than_the_padded_tokens_of_a_step(monkeypatch):
    drawn: list[int] = []

    class Counting(Writer):
        def step(self):
            found = super().step()
            drawn.append(len(found))
            return found

    monkeypatch.setattr(worker, "Writer", Counting)
    monkeypatch.setattr(worker, "JOINING", 100)
    prompts = [[65] * 60, [66], [67], [68]]  # 63 tokens, but two rows of 60 are 120
    with serving(random_models()) as server:
        server.post("completions", model="pretrain", prompt=prompts, max_tokens=9, temperature=0)
    assert drawn[:2] == [1, 4]


def test_a_conversation_is_encoded_beside_the_loop_and_no_further_than_the_context(monkeypatch):
    looped: list[bool] = []
    encode = TOKENIZER.encode

    def watched(text: str) -> list[int]:
        looped.append(asyncio._get_running_loop() is not None)
        return encode(text)

    with serving(random_models()) as server:
        monkeypatch.setattr(TOKENIZER, "encode", watched)
        turns = [("user", "x"), ("assistant", "y")] * 50 + [("user", "z")]
        messages = [{"role": role, "content": content} for role, content in turns]
        response = server.post("chat/completions", model="instruct", messages=messages)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["param"] == "messages"
    assert 2 <= len(looped) <= 12
    assert not any(looped)


def test_rows_of_one_request_take_turns_with_those_of_another(monkeypatch, gate):
    begun: list[str] = []
    begin = worker.Writer.begin

    def noted(self, prompt, *more):
        begun.append(TOKENIZER.decode(prompt[1:]))
        return begin(self, prompt, *more)

    monkeypatch.setattr(worker.Writer, "begin", noted)
    with serving(random_models(), Limits(batch=1)) as server, ThreadPoolExecutor(2) as pool:
        asked = {"model": "pretrain", "max_tokens": 2, "temperature": 0}
        texts = [["a1", "a2", "a3", "a4"], ["b1", "b2"]]
        answers = []
        for number, prompt in enumerate(texts):
            answers.append(pool.submit(server.post, "completions", prompt=prompt, **asked))
            until(lambda count=(4, 6)[number]: server.worker.open == count)
            assert gate.reached.wait(30)
        gate.set()
        for prompt, answer in zip(texts, answers, strict=True):
            assert len(answer.result().json()["choices"]) == len(prompt)
    assert begun == ["a1", "a2", "b1", "a3", "b2", "a4"]


def test_a_large_request_leaves_places_for_who_comes_next(monkeypatch):
    together: list[int] = []

    class Counting(Writer):
        def step(self):
            found = super().step()
            together.append(len(found))
            return found

    monkeypatch.setattr(worker, "Writer", Counting)
    asked = {"model": "pretrain", "max_tokens": 5, "temperature": 0}
    with serving(random_models(), Limits(batch=8)) as server:
        made = server.post("completions", prompt=["a"] * 12, **asked)
    assert len(made.json()["choices"]) == 12
    assert max(together) == 4


def test_a_scored_prompt_is_read_in_slices_and_others_are_written_in_between(monkeypatch, gate):
    done: list[str] = []
    read = Reading.read

    def noted(self, model):
        done.append("slice")
        read(self, model)

    monkeypatch.setattr(Reading, "read", noted)
    step = worker.Writer.step

    def stepping(self):
        done.append("step")
        return step(self)

    monkeypatch.setattr(worker.Writer, "step", stepping)
    scored = {"prompt": [[65] * 512] * 3, "max_tokens": 0, "echo": True, "logprobs": 1}
    with serving(random_models()) as server, stream_of(server, max_tokens=200):
        assert gate.reached.wait(30)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.post, "completions", model="pretrain", **scored)
            until(lambda: server.worker.open == 4)
            gate.set()
            assert len(answer.result().json()["choices"]) == 3
    slices = [number for number, what in enumerate(done) if what == "slice"]
    assert len(slices) == 3 * 4
    assert all(done[number + 1] == "step" for number in slices)


def test_a_whole_answer_is_told_beside_the_loop(monkeypatch):
    looped: list[bool] = []
    as_text = replies.as_text

    def watched(token: bytes) -> str:
        looped.append(asyncio._get_running_loop() is not None)
        return as_text(token)

    monkeypatch.setattr(replies, "as_text", watched)
    asked = {"prompt": "One", "max_tokens": 0, "echo": True, "logprobs": 0}
    with serving(random_models()) as server:
        assert server.post("completions", model="pretrain", **asked).status_code == 200
    assert looped and not any(looped)
