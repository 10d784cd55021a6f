"""A model of llmill's in lm-evaluation-harness: its answers beside a slow reference, and lm_eval's own
definitions of tasks, on two rows in the form of their data.
"""

import json
from pathlib import Path

import pytest
import torch

from llmill.contract.errors import UserError
from llmill.model.checkpoint import Checkpoint
from llmill.model.generate import generate
from llmill.models import LanguageModel
from llmill.stages import export
from llmill.tasks.templates import ALPACA
from llmill.text.tokenization.template import Template
from tests.evaluation.toys import alpaca_prompt, bytes_tokenizer, decoder
from tests.serve.served import parrot

END = 256
TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on; the fox is gone.\n" * 2

lm_eval = pytest.importorskip(
    "lm_eval", reason="lm_eval is not installed (`pip install '.[harness]'`)"
)

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from llmill.harness import Harness  # noqa: E402

RANDOM = decoder(0)


def harness(model=RANDOM, template: str | None = None, **options) -> Harness:
    tokenizer = bytes_tokenizer()
    opened = None if template is None else Template(template, tokenizer)
    return Harness(LanguageModel(model, tokenizer, opened), **options)


def requests(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, each, 0) for each in arguments]


def likelihood(*pairs: tuple[str, str], **options) -> list[tuple[float, bool]]:
    return harness(**options).loglikelihood(requests("loglikelihood", *pairs), disable_tqdm=True)


def reference(before: list[int], after: list[int]) -> tuple[float, bool]:
    """A forward pass over both, of which the last 65 count, and a sum."""
    ids = [*before, *after][-65:]
    with torch.no_grad():
        logprobs = RANDOM(torch.tensor([ids[:-1]]))[0].double().log_softmax(dim=-1)
    rows = logprobs[-len(after) :]
    total = sum(float(row[token]) for row, token in zip(rows, after, strict=True))
    return total, rows.argmax(dim=-1).tolist() == after


def written(*arguments: tuple[str, dict], model=None, **options) -> list[str]:
    asked = requests("generate_until", *arguments)
    return harness(model or parrot("Paris!", 64), **options).generate_until(asked, True)


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_a_continuation_is_as_likely_as_one_pass_over_it_says(batch_size):
    pairs = [("Two and two", " is four"), ("Two and two", " is"), ("né", "e"), ("One\n", "x")]
    found = likelihood(*pairs, batch_size=batch_size)
    for (before, after), answer in zip(pairs, found, strict=True):
        spaces = len(before) - len(before.rstrip())  # go to the continuation, as lm_eval has it
        cut = before[: len(before) - spaces]
        moved = before[len(before) - spaces :] + after
        assert answer == pytest.approx(reference([*cut.encode()], [*moved.encode()]), abs=1e-5)


def test_it_is_greedy_where_the_model_would_write_it():
    pairs = [("One P", text) for text in ("aris!", "a", "s", "ariz!", "arisx", "")]
    found = harness(parrot("Paris!", 64)).loglikelihood(requests("loglikelihood", *pairs), True)
    assert [greedy for _, greedy in found] == [True, True, False, False, False, True]


def test_nothing_before_is_the_token_that_documents_begin_behind():
    assert likelihood(("", "abc"))[0] == pytest.approx(reference([END], [*b"abc"]), abs=1e-5)
    assert likelihood((" ", "abc"))[0] == pytest.approx(reference([END], [*b" abc"]), abs=1e-5)


def test_a_text_may_begin_behind_that_token_everywhere_but_once():
    for before in ("One", "<|endoftext|>One"):
        found = likelihood((before, "x"), add_bos_token=True)[0]
        assert found == pytest.approx(reference([END, *b"One"], [*b"x"]), abs=1e-5)


def test_of_what_is_too_long_the_last_tokens_are_read():
    found = likelihood((TEXT.strip(), "xyz"))[0]
    assert found == pytest.approx(reference([*TEXT.strip().encode()][-62:], [*b"xyz"]), abs=1e-5)


def test_a_whole_text_is_the_sum_of_its_windows():
    ids = [*TEXT.encode()][:150]
    by_hand = (
        reference([END], ids[:64])[0]
        + reference(ids[63:64], ids[64:128])[0]
        + reference(ids[85:128], ids[128:])[0]
    )
    asked = requests("loglikelihood_rolling", (TEXT[:150],), ("",), ("a",))
    found = harness().loglikelihood_rolling(asked, disable_tqdm=True)
    assert found == pytest.approx([by_hand, 0.0, reference([END], [97])[0]], abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"until": ["ri"]}, "Pa"),
        ({"until": "s!"}, "Pari"),
        ({"until": ["x", "ris", "a"]}, "P"),
        ({"until": [], "max_gen_toks": 3}, "Par"),
        ({"until": ["\n\n"]}, "Paris!"),
        ({"until": [""], "do_sample": False, "temperature": 0.0, "num_beams": 1}, "Paris!"),
    ],
)
def test_a_text_is_written_up_to_its_stop_string_its_end_or_its_length(settings, expected):
    assert written(("What is the capital of France?\n", settings)) == [expected]


@pytest.mark.parametrize("batch_size", [1, 2, "auto"])
def test_texts_written_together_keep_their_order_and_settings(batch_size):
    asked = [("\n", {"until": []}), ("\nPa", {"until": ["s"]}), ("a\n", {"max_gen_toks": 2})]
    assert written(*asked, batch_size=batch_size) == ["Paris!", "ri", "Pa"]


@pytest.mark.parametrize(("most", "read"), [(8, 56), (63, 1), (64, 32), (90, 32)])
def test_of_a_prompt_that_is_too_long_the_end_is_read(most, read):
    ids = [*TEXT.encode()][-read:]
    (new,) = generate(RANDOM, [ids], max_new_tokens=most, end_of_text=END)
    asked = (TEXT, {"until": [], "max_gen_toks": most})
    assert written(asked, model=RANDOM) == [bytes_tokenizer().decode(new)]


@pytest.mark.parametrize(
    ("settings", "drawn"),
    [
        ({"do_sample": True, "temperature": 1.0}, True),
        ({"do_sample": True}, True),
        ({"temperature": 0.9}, True),
        ({"do_sample": False, "temperature": 0.9}, False),
        ({"do_sample": True, "top_k": 1}, False),
        ({}, False),
    ],
)
def test_a_draw_is_the_same_each_time_and_another_in_each_request(settings, drawn):
    asked = ("One", {**settings, "max_gen_toks": 12})
    first, again = (written(asked, asked, model=RANDOM) for _ in range(2))
    assert first == again
    assert (first[0] != first[1]) == drawn


def test_a_setting_that_is_not_there_is_refused():
    with pytest.raises(
        UserError, match="the task sets num_beams = 10, which llmill does not support"
    ):
        written(("One", {"until": [], "num_beams": 10}))


def test_messages_are_put_to_an_assistant_in_its_own_template():
    asked = harness(template=ALPACA)
    text = asked.apply_chat_template([{"role": "user", "content": "Hello"}])
    assert text.startswith("<|endoftext|>Below is an instruction")
    assert asked.tok_encode(text) == alpaca_prompt("Hello")
    assert asked.chat_template(True) == ALPACA
    begun = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good "}]
    assert asked.apply_chat_template(begun, add_generation_prompt=False).endswith(":\nGood")


def test_a_foundation_model_has_no_template():
    with pytest.raises(UserError, match="llmill: not taught to answer messages; leave out --app"):
        harness().apply_chat_template([{"role": "user", "content": "Hello"}])


# Two rows a task, in the form of its published data.
ARC = {"id": "1", "answerKey": "B", "choices": {"text": ["Rome", "Paris"], "label": ["A", "B"]}}
SWAG = {"ind": 1, "activity_label": "Ball", "ctx_a": "A man runs.", "ctx_b": "he", "label": "2"}
IFEVAL = {
    "key": 1, "prompt": "Write without a comma.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}],
}  # fmt: skip
TASKS = {
    "arc_easy": ("arc/arc_easy", {**ARC, "question": "The capital of France?"}, "acc_norm"),
    "hellaswag": ("hellaswag/hellaswag", {**SWAG, "endings": ["a", "b", "c", "d"]}, "acc_norm"),
    "piqa": ("piqa/piqa", {"goal": "Open it", "sol1": "Pull", "sol2": "Push", "label": 1}, "acc"),
    "blimp": (
        "blimp/adjunct_island",
        {"sentence_good": "Who should Ann help?", "sentence_bad": "Who should help Ann?"},
        "acc",
    ),
    "lambada": ("lambada/lambada_openai", {"text": "He gave it to the old king"}, "perplexity"),
    "ifeval": ("ifeval/ifeval", IFEVAL, "prompt_level_strict_acc"),
    "wikitext": ("wikitext/wikitext", {"page": "A river . It is long ."}, "bits_per_byte"),
}


def local(folder: Path, name: str, definition: str, row: dict) -> str:
    """A file that is lm_eval's definition of a task with two rows here in place of its data."""
    (folder / "rows.jsonl").write_text(2 * (json.dumps(row) + "\n"))
    files = {split: str(folder / "rows.jsonl") for split in ("train", "validation", "test")}
    config = {
        "include": str(Path(lm_eval.__file__).parent / "tasks" / f"{definition}.yaml"),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
    }
    (folder / f"{name}.yaml").write_text(json.dumps(config))
    return str(folder / f"{name}.yaml")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_of_the_harness_runs(name, tmp_path, monkeypatch):
    definition, row, metric = TASKS[name]
    if name == "ifeval":
        for module in ("nltk", "langdetect", "immutabledict"):
            pytest.importorskip(module, reason="IFEval needs lm_eval[ifeval]")
        (tmp_path / "tokenizers/punkt_tab").mkdir(parents=True)  # for rules that count sentences
        monkeypatch.setattr("nltk.data.path", [str(tmp_path)])
    manager = TaskManager(include_defaults=False)
    task = manager.load(local(tmp_path, name, definition, row))["tasks"][name]
    model = parrot("Paris!") if name == "ifeval" else decoder(0, block_size=512)
    found = lm_eval.simple_evaluate(
        harness(model), tasks=[task], task_manager=manager, bootstrap_iters=0
    )
    value = found["results"][name][f"{metric},none"]
    assert len(found["samples"][name]) == 2
    assert value > 0 if metric in ("perplexity", "bits_per_byte") else value in (0.0, 1.0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The random decoder as stage `export` writes it."""
    folder = tmp_path_factory.mktemp("exported")
    export.write(folder, Checkpoint(RANDOM, bytes_tokenizer()))
    return folder


@pytest.mark.parametrize("bos", [False, True])
def test_the_answers_are_those_of_the_harness_on_the_exported_folder(exported, bos):
    pytest.importorskip("transformers")
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(str(exported), dtype="float32", device="cpu", add_bos_token=bos)
    ours = Harness(str(exported), add_bos_token=bos)
    assert (ours.max_length, ours.eot_token_id) == (theirs.max_length, theirs.eot_token_id)
    pairs = [
        ("Two and two", " is four"), ("né ", "e"), ("", "abc"), (TEXT, "xyz"), (TEXT[:62], " f"),
        ("One<|endoftext|>Two", " x"), ("<|endoftext|>One", " x"), ("One", " x"), ("One", " y"),
    ]  # fmt: skip
    asked = requests("loglikelihood", *pairs)
    expected, found = theirs.loglikelihood(asked, True), ours.loglikelihood(asked, True)
    assert [value for value, _ in found] == pytest.approx([x for x, _ in expected], abs=1e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    if not bos:  # theirs scores the token that a text begins behind as a part of it, too
        rolled = requests("loglikelihood_rolling", (TEXT,), ("a",), (TEXT[:64],), (TEXT[:65],))
        assert ours.loglikelihood_rolling(rolled, True) == pytest.approx(
            theirs.loglikelihood_rolling(rolled, True), abs=1e-2
        )
