from llmill.report import page


def test_samples_are_shown_by_prompt_at_evenly_spread_steps():
    rows = [{"step": s, "prompt": p, "text": "."} for s in range(10, 210, 10) for p in "ab"]
    shown = page.samples(rows)
    assert list(shown) == ["a", "b"]
    steps = [row["step"] for row in shown["a"]]
    assert len(steps) == 6
    assert (steps[0], steps[-1]) == (10, 200)


def test_one_sample_or_none_is_shown_too():
    assert page.samples([]) == {}
    assert page.samples([{"step": 5, "prompt": "a", "text": "."}])["a"][0]["step"] == 5


def test_best_and_worst_leave_out_what_got_no_score():
    scores = [{"answer": a, "score": s} for a, s in zip("abcd", (50, None, 90, 50), strict=True)]
    found = page.examples(scores, 2)
    assert [row["answer"] for row in found["best"]] == ["c", "a"]
    assert [row["answer"] for row in found["worst"]] == ["a", "d"]
