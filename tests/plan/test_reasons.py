"""Values in the plan's reasons are written as `params.yaml` has them."""

from llmill.plan.reasons import of_parameters


def test_a_value_that_is_missing_true_or_a_text_reads_as_in_the_file():
    before = {"download": {"init": None, "mmlu": "world"}, "pretrain": {"compile": False}}
    now = {"download": {"init": "gpt2", "mmlu": None}, "pretrain": {"compile": True}, "new": 1}
    assert of_parameters(before, now) == [
        "download.init null, now 'gpt2'",
        "download.mmlu 'world', now null",
        "pretrain.compile false, now true",
        "new 1, not there before",
    ]
