from llmill.tasks.prompt import question


def test_a_question_ends_where_its_answer_begins():
    assert question("What is 1 + 1?") == "Question: What is 1 + 1?\nAnswer:"
