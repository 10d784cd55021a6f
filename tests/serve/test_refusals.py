"""What is refused: status, the field it is about, and a code; never a traceback."""

import http.client
import json
import socket

import httpx
import pytest

from llmill.serve import app, run
from llmill.serve.limits import Limits
from tests.serve.served import random_models, serving

COMPLETION = {"model": "pretrain", "prompt": "One", "max_tokens": 3}
CHAT = {"model": "instruct", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
ABSENT = object()


@pytest.fixture(scope="module")
def local():
    """A server that must be asked by a name of this machine."""
    with serving(random_models(), hosts=run.LOOPBACK) as running:
        yield running


def messages(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


REFUSED = [
    ("completions", {"prompt": ABSENT}, "prompt", "missing_parameter"),
    ("completions", {"model": ABSENT}, "model", "missing_parameter"),
    ("completions", {"model": 3}, "model", "invalid_value"),
    ("completions", {"prompt": 3.5}, "prompt", "invalid_value"),
    ("completions", {"prompt": []}, "prompt", "invalid_value"),
    ("completions", {"prompt": [[]]}, "prompt", "invalid_value"),
    ("completions", {"prompt": ["a", 3]}, "prompt", "invalid_value"),
    ("completions", {"prompt": [True]}, "prompt", "invalid_value"),
    ("completions", {"prompt": [257]}, "prompt", "invalid_value"),
    ("completions", {"prompt": [-1]}, "prompt", "invalid_value"),
    ("completions", {"prompt": ["a"] * 257}, "prompt", "invalid_value"),
    ("completions", {"max_tokens": "3"}, "max_tokens", "invalid_value"),
    ("completions", {"max_tokens": 3.5}, "max_tokens", "invalid_value"),
    ("completions", {"max_tokens": -2}, "max_tokens", "invalid_value"),
    ("completions", {"max_tokens": 0}, "max_tokens", "invalid_value"),
    ("completions", {"prompt": ["a"] * 30, "max_tokens": 300}, "max_tokens", "invalid_value"),
    ("completions", {"max_tokens": 509}, "prompt", "context_length_exceeded"),
    ("completions", {"prompt": "a" * 512}, "prompt", "context_length_exceeded"),
    ("completions", {"prompt": "a" * 100_000}, "prompt", "context_length_exceeded"),
    ("completions", {"prompt": [1] * 510}, "prompt", "context_length_exceeded"),
    ("completions", {"temperature": -0.1}, "temperature", "invalid_value"),
    ("completions", {"temperature": 2.1}, "temperature", "invalid_value"),
    ("completions", {"temperature": 1e-30}, "temperature", "invalid_value"),
    ("completions", {"temperature": "1"}, "temperature", "invalid_value"),
    ("completions", {"temperature": True}, "temperature", "invalid_value"),
    ("completions", {"top_p": 0}, "top_p", "invalid_value"),
    ("completions", {"top_p": 1.1}, "top_p", "invalid_value"),
    ("completions", {"top_k": -2}, "top_k", "invalid_value"),
    ("completions", {"min_p": 2}, "min_p", "invalid_value"),
    ("completions", {"repetition_penalty": 0}, "repetition_penalty", "invalid_value"),
    ("completions", {"seed": 2**63}, "seed", "invalid_value"),
    ("completions", {"seed": 1.5}, "seed", "invalid_value"),
    ("completions", {"stop": ["a", 3]}, "stop", "invalid_value"),
    ("completions", {"stop": list("abcdefghijklmnopq")}, "stop", "invalid_value"),
    ("completions", {"stop": "a" * 201}, "stop", "invalid_value"),
    ("completions", {"stream": "yes"}, "stream", "invalid_value"),
    ("completions", {"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ("completions", {"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_value"),
    ("completions", {"logprobs": 6}, "logprobs", "invalid_value"),
    ("completions", {"logprobs": True}, "logprobs", "invalid_value"),
    ("completions", {"echo": 1}, "echo", "invalid_value"),
    ("completions", {"n": 2}, "n", "unsupported_value"),
    ("completions", {"n": True}, "n", "unsupported_value"),
    ("completions", {"best_of": 3}, "best_of", "unsupported_value"),
    ("completions", {"suffix": "x"}, "suffix", "unsupported_value"),
    ("completions", {"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_value"),
    ("completions", {"presence_penalty": 1}, "presence_penalty", "unsupported_value"),
    ("completions", {"logit_bias": {"5": 1}}, "logit_bias", "unsupported_value"),
    ("chat/completions", {"messages": ABSENT}, "messages", "missing_parameter"),
    ("chat/completions", {"messages": []}, "messages", "invalid_value"),
    ("chat/completions", {"messages": "Hi"}, "messages", "invalid_value"),
    ("chat/completions", {"messages": ["Hi"]}, "messages[0]", "invalid_value"),
    ("chat/completions", {"messages": [{"role": "user"}]}, "messages[0].content", "missing_parameter"),
    ("chat/completions", {"messages": messages(("user", 3))}, "messages[0].content", "invalid_value"),
    ("chat/completions", {"messages": messages(("tool", "x"))}, "messages[0].role", "invalid_value"),
    ("chat/completions", {"messages": messages(("assistant", "x"))}, "messages[0]", "invalid_value"),
    ("chat/completions", {"messages": messages(("user", "x"), ("assistant", "y"))}, "messages", "invalid_value"),
    ("chat/completions", {"messages": messages(("system", "x"))}, "messages", "invalid_value"),
    ("chat/completions", {"messages": messages(("system", "x"), ("assistant", "y"), ("user", "z"))}, "messages[1]", "invalid_value"),
    ("chat/completions", {"messages": messages(("user", "x"), ("system", "x"), ("assistant", "y"), ("user", "z"))}, "messages[2]", "invalid_value"),
    ("chat/completions", {"messages": messages(("user", "x"), ("assistant", "y"), ("assistant", "y"), ("user", "z"))}, "messages[2]", "invalid_value"),
    ("chat/completions", {"messages": messages(("user", [{"type": "image_url"}]))}, "messages[0].content", "invalid_value"),
    ("chat/completions", {"messages": messages(("user", "x" * 400))}, "messages", "context_length_exceeded"),
    ("chat/completions", {"messages": messages(("user", "x" * 9000))}, "messages[0]", "context_length_exceeded"),
    ("chat/completions", {"max_tokens": 0}, "max_tokens", "invalid_value"),
    ("chat/completions", {"max_completion_tokens": -2}, "max_completion_tokens", "invalid_value"),
    ("chat/completions", {"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "invalid_value"),
    ("chat/completions", {"max_tokens": 500}, "messages", "context_length_exceeded"),
    ("chat/completions", {"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ("chat/completions", {"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
    ("chat/completions", {"logprobs": 2}, "logprobs", "invalid_value"),
    ("chat/completions", {"tools": [{"type": "function"}]}, "tools", "unsupported_value"),
    ("chat/completions", {"response_format": {"type": "json_object"}}, "response_format", "unsupported_value"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "changes", "param", "code"), REFUSED)
def test_a_field_that_cannot_be_is_named(server, path, changes, param, code):
    asked = {**(COMPLETION if path == "completions" else CHAT), **changes}
    asked = {name: value for name, value in asked.items() if value is not ABSENT}
    response = server.post(path, **asked)
    error = response.json()["error"]
    assert response.status_code == 400, error
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(param)
    assert "\n" not in error["message"]


def test_fields_that_everybody_sends_and_values_that_ask_for_nothing_are_taken(server):
    idle = {
        "user": "x", "metadata": {"a": "b"}, "store": False, "n": 1, "best_of": 1, "suffix": None,
        "frequency_penalty": 0.0, "presence_penalty": 0, "logit_bias": {}, "seed": None, "stop": None,
        "top_k": None, "stream": None, "logprobs": None,
    }  # fmt: skip
    assert server.post("completions", **COMPLETION, **idle).status_code == 200
    idle = {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}}
    assert server.post("chat/completions", **CHAT, **idle).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'"x"', b"\xff{}", b'{"a": NaN}', b"[" * 100_000, b'{"a": "\\ud800"}',
     b'{"seed": ' + b"9" * 5000 + b"}", b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
     b'{"x": ' * 100_000 + b"1" + b"}" * 100_000],
)  # fmt: skip
def test_what_is_no_json_object_is_400(server, body):
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{server.url}/v1/completions", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


def test_another_type_of_content_is_415(server):
    response = httpx.post(f"{server.url}/v1/completions", content=json.dumps(COMPLETION))
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]["message"]


def test_a_request_without_a_model_says_that_it_needs_one(server):
    asked = {name: value for name, value in COMPLETION.items() if name != "model"}
    assert server.post("completions", **asked).json()["error"]["message"] == (
        "model: missing; /v1/models lists the names"
    )


@pytest.mark.parametrize("path", ["completions", "chat/completions"])
def test_an_unknown_model_is_404(server, path):
    asked = {**(COMPLETION if path == "completions" else CHAT), "model": "gpt-4"}
    response = server.post(path, **asked)
    assert response.status_code == 404
    assert response.json() == {
        "error": {
            "message": "this server has no model 'gpt-4'; it serves: instruct, pretrain",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/v1", 404, None),
        ("POST", "/v1/embeddings", 404, None),
        ("GET", "/docs", 404, None),
        ("GET", "/openapi.json", 404, None),
        ("GET", "/v1/completions", 405, "POST"),
        ("DELETE", "/v1/models", 405, "GET"),
    ],
)
def test_an_unknown_address_is_404_and_another_method_405(server, method, path, status, allow):
    response = httpx.request(method, server.url + path)
    assert response.status_code == status
    assert response.json()["error"]["message"].startswith(f"{method} {path}: ")
    assert response.headers.get("Allow") == allow


def test_a_page_of_another_name_for_this_machine_is_refused():
    with serving(random_models(), hosts=frozenset({"127.0.0.1"})) as server:
        assert httpx.get(f"{server.url}/v1/models").status_code == 200
        for path in ("/v1/models", "/"):
            response = httpx.get(server.url + path, headers={"Host": "evil.example"})
            assert response.status_code == 400
            assert response.json()["error"]["code"] == "invalid_host"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Host: 127.0.0.1:8000", b"200"),
        (b"Host: LOCALHOST", b"200"),
        (b"Host: [::1]:8000", b"200"),
        (b"", b"400"),
        (b"Host:", b"400"),
        (b"Host: ::1", b"400"),
        (b"Host: [::1", b"400"),
        (b"Host: evil.example:8000", b"400"),
        (b"Host: 127.0.0.1.evil.example", b"400"),
        (b"Host: evil.example[", b"400"),
        (b"Host: evil.example/@127.0.0.1", b"400"),
        (b"Host: evil_example?", b"400"),
    ],
)
def test_a_host_header_that_is_missing_or_malformed_is_refused(local, header, status):
    lines = [b"GET /v1/models HTTP/1.0", *filter(None, [header]), b"", b""]
    with socket.create_connection(("127.0.0.1", local.port), timeout=10) as connection:
        connection.sendall(b"\r\n".join(lines))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ", 2)[1] == status
    assert (b'"code":"invalid_host"' in answer) == (status == b"400")


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", "Bearer s3cretx", "s3cret", "Bearer é"]
)
def test_without_the_key_nothing_is_told_but_the_page(given):
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    with serving(random_models(), key="s3cret") as server:
        for path in ("models", "models/pretrain"):
            response = httpx.get(f"{server.url}/v1/{path}", headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"
        response = httpx.post(f"{server.url}/v1/completions", json=COMPLETION, headers=headers)
        assert response.status_code == 401
        assert httpx.get(server.url).status_code == 200


def test_with_the_key_everything_is_answered():
    import openai

    with serving(random_models(), key="s3cret") as server:
        client = server.client()
        assert [model.id for model in client.models.list()] == ["instruct", "pretrain"]
        assert client.completions.create(**COMPLETION).choices[0].finish_reason == "length"
        with pytest.raises(openai.AuthenticationError):
            server.client(api_key="other").models.list()


def test_tokens_of_the_prompts_count_too():
    with serving(random_models(), Limits(read=50)) as server:
        for prompt, status in ((["a" * 24] * 2, 200), (["a" * 24, "a" * 25], 400)):
            response = server.post("completions", **{**COMPLETION, "prompt": prompt})
            assert response.status_code == status
        assert response.json()["error"]["message"] == (
            "prompt: 51 tokens in all, but a request may have 50"
        )
        long = messages(("user", "a" * 60))
        error = server.post("chat/completions", **{**CHAT, "messages": long}).json()["error"]
        assert (error["param"], error["code"]) == ("messages", "invalid_value")


@pytest.mark.parametrize("times", [1.01, 3, 50])
def test_a_body_that_is_too_large_is_413_declared_or_not(times):
    body = json.dumps({**COMPLETION, "user": "x" * int(10_000 * times)}).encode()
    headers = {"Content-Type": "application/json"}
    with serving(random_models(), Limits(body=10_000)) as server:
        where = f"{server.url}/v1/completions"
        whole = httpx.post(where, content=body, headers=headers)
        pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
        chunked = httpx.post(where, content=pieces, headers=headers)
        for response in (whole, chunked):
            assert response.status_code == 413
            assert response.json()["error"]["code"] == "request_too_large"
        assert server.post("completions", **COMPLETION).status_code == 200


def test_a_body_that_never_comes_is_408(server, monkeypatch):
    monkeypatch.setattr(app, "BODY_SECONDS", 0.05)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("POST", "/v1/completions")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"{")
    response = connection.getresponse()
    assert response.status == 408
    assert json.loads(response.read())["error"]["code"] == "timeout"
    connection.close()


def test_a_client_that_leaves_while_it_sends_disturbs_nobody(server, caplog):
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
    assert server.post("completions", **COMPLETION).status_code == 200
    assert caplog.records == []
