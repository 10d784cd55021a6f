import random
import unicodedata

from llmill.text.corpus.batches import Hashes, batches
from llmill.text.corpus.contamination import EvaluationTexts
from llmill.text.settings import WordRuns

SETTINGS = WordRuns(words=6, shortest=3)


def held(texts, documents):
    wanted = EvaluationTexts(texts, SETTINGS)
    return [
        bool(each) for batch in batches(documents, Hashes()) for each in wanted.in_documents(batch)
    ]


def holds(texts, document):
    """Beside others, which hold nothing."""
    return held(texts, ["", document, "zeta"]) == [False, True, False]


def test_consecutive_words_of_a_long_text_are_found_in_any_dress():
    text = "alpha beta gamma delta epsilon zeta eta theta"
    assert holds([text], "so: Gamma, delta -- EPSILON zeta\neta 'theta' and on")
    assert not holds([text], "gamma delta epsilon zeta eta or theta")


def test_a_shorter_text_is_found_whole_and_anywhere():
    assert holds(["what is tin"], "he asked: what is Tin? and left")
    assert not holds(["what is tin"], "what is a tin")


def test_a_very_short_text_is_found_only_as_the_whole_document():
    assert not holds(["ok lor"], "ok lor then")
    assert holds(["ok lor"], "Ok lor...")


def test_texts_are_counted_and_empty_ones_are_not_looked_for():
    wanted = EvaluationTexts(["one two three", "one", "...", ""], SETTINGS)
    assert (wanted.texts, wanted.too_short) == (2, 1)
    assert not holds(["one two three", "one", "...", ""], "")


def test_documents_side_by_side_are_looked_at_as_each_alone():
    """Beside a slow comparison of words."""
    rng = random.Random(1)
    documents = [" ".join(rng.choices("abcd", k=rng.randrange(12))) for _ in range(400)]
    texts = [" ".join(rng.choices("abcd", k=n)) for n in (1, 2, 3, 4, 5, 6, 7, 9)]

    def is_in(text, document):
        own, others = text.split(), document.split()
        n = min(len(own), 6)
        if n < 3:
            return own == others
        parts = [own[i : i + n] for i in range(len(own) - n + 1)]
        return any(others[i : i + n] in parts for i in range(len(others) - n + 1))

    expected = [any(is_in(text, document) for text in texts) for document in documents]
    assert held(texts, documents) == expected
    assert 30 < sum(expected) < 300


def test_no_texts_find_nothing():
    assert not holds([], "anything at all")


def test_another_unicode_form_or_characters_that_show_nothing_hide_no_text():
    text = "où se trouve le château que le général a bâti"
    document = f"Il demande {text} et s'en va."
    assert holds([text], unicodedata.normalize("NFD", document))
    assert holds([unicodedata.normalize("NFD", text)], document)
    assert holds([text], "\u200b".join(document))
    assert holds([text], document.replace("é", "é\u00ad"))


def test_a_text_without_spaces_is_found_inside_a_document_without_spaces():
    text = "伅佞倞丝俜令串亠？"
    assert holds([text], f"他鸮走了。{text}他说。")
    assert holds([text], "前文伅佞，倞丝俜令。后文")
    assert not holds([text], "伅佞倞丝俜他令串亠")
