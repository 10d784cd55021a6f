"""What a request says of the choice of tokens, without a server."""

from llmill.model.generate import Choice
from llmill.serve.requests import Completion


def test_every_limit_of_a_request_is_a_limit_of_the_choice():
    limits = {"top_k": 3, "top_p": 0.5, "min_p": 0.1, "repetition_penalty": 1.2}
    body = Completion(model="m", prompt="x", temperature=0.7, **limits)
    assert body.choice == Choice(0.7, 1.2, 3, 0.5, 0.1)


def test_a_request_without_limits_limits_nothing():
    assert Completion(model="m", prompt="x").choice == Choice(temperature=1.0)
