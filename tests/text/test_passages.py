from llmill.text.corpus.passages import passages


def test_paragraphs_are_put_together_near_the_asked_length():
    assert passages(["a b c", "d e f", "g h i j k l m n", "o"], 6) == [
        "a b c\n\nd e f",
        "g h i j k l m n",
        "o",
    ]
    assert passages([], 6) == []


def test_a_paragraph_of_more_than_twice_the_length_is_cut_at_the_ends_of_sentences():
    line = 'He came at 3.14 today. "Why?"  she asked... Nobody knew it! The end is here, so it is.'
    assert passages(["Before.", line, "After."], 6) == [
        "Before.",
        'He came at 3.14 today. "Why?"',
        "she asked... Nobody knew it!",
        "The end is here, so it is.",
        "After.",
    ]
    assert passages([line], 9) == [line]  # 18 words


def test_a_sentence_longer_than_a_passage_is_cut_at_the_ends_of_words():
    assert passages(["a b c d e f g h i j"], 4) == ["a b c d", "e f g h", "i j"]


def test_scripts_without_spaces_are_cut_at_sentences_and_else_at_characters():
    assert passages(["他来了。她说：「为什么？」没有人知道！"], 6) == [
        "他来了。她说：「为什么？」",
        "没有人知道！",
    ]
    assert passages(["一二三四，五六七八九十"], 4) == ["一二三四，", "五六七八", "九十"]


def test_nothing_but_spaces_is_lost_at_any_length():
    line = "One (two). Three「四五」。六七 eight... nine?! ten\u00a0eleven  twelve, «13.» end" * 40
    for words in (1, 2, 5, 17, 60):
        assert "".join("".join(passages([line], words)).split()) == "".join(line.split())


def test_long_runs_of_marks_take_time_in_proportion():
    for run in ("." * 1_000_000, "." + '"' * 1_000_000, "。" * 1_000_000, "a" * 1_000_000):
        assert "".join(passages([f"a b c {run}x d e f"], 2)).replace(" ", "") == f"abc{run}xdef"
