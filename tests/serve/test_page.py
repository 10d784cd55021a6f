"""The page in a headless browser: it asks the server it came from and shows what that answers."""

import re
import urllib.parse

import httpx
import pytest

from llmill.models import LanguageModel
from llmill.serve.served import Served
from tests.serve.browser import browsing, needed
from tests.serve.served import TOKENIZER, parrot, parrots, random_models, serving
from tests.waiting import until

TURNS = "[...document.querySelectorAll('article')].map(each => each.innerText)"
ANSWERED = "!document.querySelector('.writing') && document.querySelector('.answered') !== null"
NOTE = "document.querySelector('article:last-of-type .note')?.textContent"
SEND = "document.getElementById('send').textContent"


@pytest.fixture
def browser(tmp_path):
    with browsing(tmp_path) as running:
        yield running


def linked(browser, url: str, text: str) -> None:
    """Open a link with a text, which stands in the field then."""
    browser.open(f"{url}/?say={urllib.parse.quote(text)}")
    browser.wait("document.getElementById('say').value !== ''")


@needed
def test_a_link_fills_the_field_and_sends_nothing(browser, gate):
    with serving(parrots("87.")) as server:
        linked(browser, server.url, "Hi\nyou")
        assert browser.value("document.getElementById('say').value") == "Hi\nyou"
        assert browser.value(f"{SEND} === 'Send' && writing === null")
        assert (browser.value(TURNS), server.worker.open) == ([], 0)
        assert browser.value("document.activeElement.id") == "say"


@needed
def test_the_text_of_a_link_is_sent_by_hand_and_markup_of_either_side_is_text(browser):
    text = '<b>What?</b> & "why"'
    with serving(parrots("<i>87&")) as server:
        linked(browser, server.url, text)
        browser.value("document.getElementById('send').click()")
        browser.wait(ANSWERED)
        assert browser.value(TURNS) == [f"You\n\n{text}", "instruct\n\n<i>87&"]
    assert browser.value("document.querySelectorAll('b, i').length") == 0
    assert "answers and reads what was said" in browser.value(
        "document.getElementById('about').textContent"
    )


@needed
def test_a_conversation_is_typed_remembered_and_begun_anew_without_a_mouse(browser):
    with serving(parrots("87.")) as server:
        browser.open(server.url)
        browser.wait("document.activeElement.id === 'say' && models.length === 1")
        for number, text in enumerate(("Hi", "And?"), 1):
            browser.type(text[:1])
            browser.press("Enter", shift=True)
            browser.type(text[1:])
            browser.press("Enter")
            browser.wait(f"{ANSWERED} && turns.length === {2 * number}")
        assert browser.value(TURNS) == [
            "You\n\nH\ni",
            "instruct\n\n87.",
            "You\n\nA\nnd?",
            "instruct\n\n87.",
        ]
        assert browser.value("turns.map(turn => turn.content)") == ["H\ni", "87.", "A\nnd?", "87."]
        browser.value("document.getElementById('new').focus()")
        browser.press("Enter")
        browser.wait("document.activeElement.id === 'say' && turns.length === 0")
        assert browser.value(TURNS) == []


@needed
def test_the_settings_are_sent_and_escape_stops_an_answer_which_frees_its_place(browser, gate):
    gate.set()
    with serving(random_models()) as server:
        browser.open(server.url)
        browser.wait("models.length === 2")
        assert browser.value("document.getElementById('tokens').value") == "128"
        browser.value("document.getElementById('tokens').value = 3")
        browser.value("document.getElementById('temperature').value = 0")
        browser.type("Hi")
        browser.press("Enter")
        browser.wait(ANSWERED)
        assert browser.value(NOTE) == "It reached the most tokens. "
        assert gate.steps == 3
        gate.clear()
        gate.reached.clear()
        browser.value("document.getElementById('tokens').value = 350")
        browser.type("Hi")
        browser.press("Enter")
        browser.wait(f"{SEND} === 'Stop'")
        assert gate.reached.wait(60)
        browser.press("Escape")
        browser.wait(f"{SEND} === 'Send'")
        assert browser.value(NOTE) == "Stopped."
        until(lambda: server.worker._left)  # it knows
        gate.set()
        server.empty()
        assert gate.steps == 4


@needed
def test_a_new_conversation_begun_while_an_answer_runs_holds_nothing_of_the_old_one(browser, gate):
    with serving(parrots("87.")) as server:
        browser.open(server.url)
        browser.wait("models.length === 1")
        browser.type("Hi")
        browser.press("Enter")
        browser.wait(f"{SEND} === 'Stop'")
        browser.value("document.getElementById('new').click()")
        browser.wait(f"{SEND} === 'Send' && turns.length === 0 && {TURNS}.length === 0")
        gate.set()
        browser.type("And?")
        browser.press("Enter")
        browser.wait(f"{ANSWERED} && {SEND} === 'Send'")
        assert browser.value(TURNS) == ["You\n\nAnd?", "instruct\n\n87."]
        assert browser.value("turns.map(turn => turn.content)") == ["And?", "87."]
        server.empty()


@needed
def test_turns_that_do_not_fit_any_more_are_forgotten_from_the_oldest(browser):
    with serving(parrots("87.")) as server:
        browser.open(server.url)
        browser.wait("models.length === 1")
        for number in range(3):
            browser.type(f"{number}" * 60)
            browser.press("Enter")
            browser.wait(f"{ANSWERED} && {SEND} === 'Send' && {TURNS}.length === {2 * number + 2}")
        assert browser.value(NOTE) == "The oldest turns no longer fit and are forgotten."
        assert browser.value("turns.map(turn => turn.content[0])") == ["2", "8"]


@needed
def test_a_text_that_cannot_fit_is_refused_and_forgets_no_turn(browser):
    with serving(parrots("87.")) as server:
        browser.open(server.url)
        browser.wait("models.length === 1")
        browser.type("Hi")
        browser.press("Enter")
        browser.wait(f"{ANSWERED} && {SEND} === 'Send'")
        browser.type("0" * 600)
        browser.press("Enter")
        browser.wait(f"{SEND} === 'Send' && {TURNS}.length === 4")
        assert browser.value(NOTE).startswith("Not answered: ")
        assert browser.value("turns.map(turn => turn.content)") == ["Hi", "87."]


@needed
def test_a_system_message_stands_before_all_turns(browser):
    with serving(parrots("87.")) as server:
        linked(browser, server.url, "Hi")
        browser.value("document.getElementById('settings').open = true")
        browser.value("document.getElementById('system').focus()")
        browser.type(" Be brief. ")
        browser.value("document.getElementById('send').click()")
        browser.wait(f"{ANSWERED} && {SEND} === 'Send'")
        assert browser.value(TURNS) == ["You\n\nHi", "instruct\n\n87."]
        assert browser.value("messages(turns, 'And?')") == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "87."},
            {"role": "user", "content": "And?"},
        ]


@needed
def test_a_foundation_model_goes_on_with_the_text(browser):
    models = {"pretrain": Served("pretrain", LanguageModel(parrot("87"), TOKENIZER))}
    with serving(models) as server:
        linked(browser, server.url, "Score:\n")
        browser.press("Enter")
        browser.wait(ANSWERED)
        assert browser.value(TURNS) == ["pretrain\n\nScore:\n87"]


@needed
def test_a_refusal_is_shown_as_the_server_says_it(browser):
    with serving(parrots("87")) as server:
        linked(browser, server.url, "x" * 600)
        browser.press("Enter")
        browser.wait(ANSWERED)
        assert browser.value(NOTE).startswith("Not answered: messages[0]: 600 bytes do not fit")
        assert browser.value("turns.length") == 0


@needed
def test_the_key_is_asked_for_and_then_sent(browser):
    with serving(parrots("87"), key="s3cret") as server:
        browser.open(server.url)
        browser.wait("document.activeElement.id === 'key'")
        browser.type("s3cret")
        browser.press("Tab")
        browser.wait("models.length === 1")
        browser.type("Hi")
        browser.press("Enter")
        browser.wait(ANSWERED)
        assert browser.value(TURNS) == ["You\n\nHi", "instruct\n\n87"]


def test_the_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_texts(server):
    response = httpx.get(server.url)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|eval\(", response.text)
