from llmill.tasks.prompt import prompt, question


def test_a_prompt_with_input_is_alpacas():
    assert prompt("Translate.", "Bonjour {x}") == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nTranslate.\n\n### Input:\nBonjour {x}\n\n### Response:\n"
    )


def test_a_prompt_without_input_is_shorter():
    assert prompt("Name a metal.", "") == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName a metal.\n\n### Response:\n"
    )


def test_a_question_ends_where_its_answer_begins():
    assert question("What is 1 + 1?") == "Question: What is 1 + 1?\nAnswer:"
