"""Which proxy an address is reached through; tests/text/test_fetch.py and
tests/evaluation/test_judge_client.py ask through them.
"""

import pytest

from llmill.contract import proxies


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://judge.example/v1", "http_proxy"),
        ("https://judge.example/v1", "ALL_PROXY"),
        ("https://inside.example/v1", None),
        ("http://localhost:8000/v1", None),
        ("http://judge.localhost/v1", None),
        ("http://127.0.0.53/v1", None),
        ("http://[::1]:8000/v1", None),
        ("http://10.0.0.1/v1", "http_proxy"),
        ("localhost:8000", None),
        ("http://[half", None),
    ],
)
def test_addresses_elsewhere_go_through_the_proxy_of_their_scheme(environment, url, name):
    environment.setenv("http_proxy", "me:s3cret@proxy:3128")
    environment.setenv("ALL_PROXY", "https://proxy:1")
    environment.setenv("NO_PROXY", "inside.example")
    address = "http://proxy:3128" if name == "http_proxy" else "https://proxy:1"
    expected = f", through the proxy {address} ({name})" if name else ""
    assert proxies.through(url) == expected


def test_without_a_variable_nothing_goes_through_one():
    assert proxies.through("http://judge.example/v1") == ""
