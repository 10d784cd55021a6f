"""`chat` and `classify-text`: what the model reads, what is shown, what is remembered."""

import io
import os
import shutil
import subprocess
import sys

import pytest
import torch

from llmill import __main__
from llmill.chat import HELP, Settings, converse, guess, open_talk
from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.model import checkpoint
from llmill.model.generate import generate
from llmill.model.heads import ClassModel
from llmill.stages import export
from llmill.tasks.templates import ALPACA
from tests.conftest import ROOT, preset_text
from tests.evaluation.toys import alpaca_prompt, bytes_tokenizer, decoder, headed, masked
from tests.serve.served import parrot


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Checkpoints of a foundation model, an assistant and a classifier."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("smoke"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    templates = {"pretrain": None, "instruct": ALPACA}
    for seed, (stage, template) in enumerate(templates.items()):
        model = decoder(seed, block_size=512)
        loaded = checkpoint.Checkpoint(model, bytes_tokenizer(), template=template)
        checkpoint.save(tmp_path / "results" / stage / "checkpoint", loaded)
    classifier = checkpoint.Checkpoint(headed(2), bytes_tokenizer(), ["ham", "spam"], 48)
    checkpoint.save(tmp_path / "results/classify/all/checkpoint", classifier)
    checkpoint.save(
        tmp_path / "masked/checkpoint", checkpoint.Checkpoint(masked(), bytes_tokenizer())
    )
    return tmp_path


SHORT = Settings(max_new_tokens=9)


def said(talk, *lines: str) -> str:
    out = io.StringIO()
    converse(talk, lines, out.write)
    return out.getvalue()


def plain(talk, ids: list[int]) -> str:
    """What `generate` gives for the ids, as text."""
    (new,) = generate(
        talk.writer.model, [ids], max_new_tokens=9, end_of_text=talk.language.tokenizer.end_of_text
    )
    return bytes_tokenizer().decode(new)


def test_the_foundation_model_goes_on_with_each_text_by_itself(results):
    talk = open_talk("pretrain", SHORT)
    expected = [plain(talk, [256, *text.encode()]) for text in ("One", "Two")]
    assert said(talk, "One\n", "Two\n") == "".join(f"{text}\n" for text in expected)


def test_the_assistant_reads_the_prompt_that_it_was_trained_with_after_earlier_turns(results):
    talk = open_talk("instruct", SHORT)
    first, second = alpaca_prompt("Hi"), alpaca_prompt("And?")
    (answer,) = generate(talk.writer.model, [first], max_new_tokens=9, end_of_text=256)
    text = bytes_tokenizer().decode(answer)
    expected = plain(talk, [*first, *text.encode(), 256, *second])
    assert said(talk, "Hi", "And?").splitlines()[-1] == expected.splitlines()[-1]
    assert talk.said[:2] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": text},
    ]


def test_a_folder_needs_no_repository_around_it(results):
    (results / "params.yaml").unlink()
    assert said(open_talk("results/pretrain/checkpoint", SHORT), "One") != ""


@pytest.mark.parametrize("name", ["instruct", "results/instruct", "results/instruct/checkpoint"])
def test_an_assistant_is_one_however_it_is_named(results, name):
    assert said(open_talk(name, SHORT), "Hi") == said(open_talk("instruct", SHORT), "Hi")


def test_turns_that_do_not_fit_are_forgotten_from_the_oldest(results):
    talk = open_talk("instruct", SHORT)
    said(talk, "first", "second", "third")
    template, before = talk.language.template, list(talk.said)
    fourth = {"role": "user", "content": "fourth"}
    assert len(template.prompt([*before, fourth])) + 9 > 512
    assert talk._ids("fourth") == template.prompt([*before[2:], fourth])
    assert talk.said == before
    talk.system = "Be brief."
    assert talk._ids("fourth") == template.prompt(
        [{"role": "system", "content": "Be brief."}, *before[2:], fourth]
    )


def test_an_answer_as_long_as_the_context_leaves_half_of_it_to_what_was_said(results):
    short = "{% for each in messages %}{{ each.content }}\n{% endfor %}"
    model = checkpoint.Checkpoint(decoder(1, block_size=96), bytes_tokenizer(), template=short)
    checkpoint.save(results / "short/checkpoint", model)
    talk = open_talk("short", SHORT)
    said(talk, "first")
    talk.settings = Settings(max_new_tokens=96)
    second = {"role": "user", "content": "second"}
    assert talk._ids("second") == talk.language.template.prompt([*talk.said, second])


def test_what_a_template_refuses_is_said_and_the_talk_goes_on(results):
    """A template that knows no system message, as published ones do."""
    refusing = "{{ raise_exception('no system') if messages[0].role == 'system' }}" + ALPACA
    model = checkpoint.Checkpoint(decoder(1, block_size=512), bytes_tokenizer(), template=refusing)
    checkpoint.save(results / "refusing/checkpoint", model)
    talk = open_talk("refusing", SHORT)
    answer = said(talk, "Hi")
    out, refused = io.StringIO(), []
    converse(talk, ["/system x", "Hi", "/system", "Hi"], out.write, refused.append)
    assert out.getvalue().endswith(answer)
    assert [str(error).endswith("no system") for error in refused] == [True]
    with pytest.raises(UserError, match="no system"):  # in a pipe
        said(talk, "/system x", "Hi")


def test_reset_forgets_and_settings_are_shown_and_set(results):
    talk = open_talk("instruct", SHORT)
    said(talk, "Hi")
    assert said(talk, "/reset", "/settings top_k 5", "/settings temperature 0.5") == (
        "forgotten\ntop_k 5\ntemperature 0.5\n"
    )
    assert talk.said == []
    assert (talk.settings.top_k, talk.settings.temperature) == (5, 0.5)
    assert said(talk, "/settings") == (
        "temperature 0.5, repetition_penalty 1.0, top_k 5, top_p none, min_p none, "
        "max_new_tokens 9, seed 1\n"
    )
    assert said(talk, "/settings top_k none", "/settings top_k x", "/settings heat 1", "/what") == (
        "top_k none\ntop_k = 'x': not a number that it can be; `none` removes it\nno setting 'heat'; one of temperature, "
        f"repetition_penalty, top_k, top_p, min_p, max_new_tokens, seed\n{HELP}\n"
    )


def test_a_system_message_stands_before_all_that_is_said_and_is_set_anew(results):
    talk = open_talk("instruct", SHORT, system="Be brief.")
    expected = plain(talk, alpaca_prompt("Be brief.\n\nHi"))
    assert said(talk, "Hi") == f"{expected}\n"
    assert said(talk, "/system Be kind.") == "the system message is set, what was said forgotten\n"
    assert talk._ids("Hi") == alpaca_prompt("Be kind.\n\nHi")
    said(talk, "/system")
    assert talk._ids("Hi") == alpaca_prompt("Hi")


def test_a_foundation_model_takes_no_system_message(results):
    with pytest.raises(UserError, match="pretrain: no assistant, so no system message"):
        open_talk("pretrain", SHORT, system="Be brief.")
    assert said(open_talk("pretrain", SHORT), "/system x").startswith("no assistant, so no system")


def test_quit_ends_and_empty_lines_are_passed_over(results):
    assert said(open_talk("pretrain", SHORT), "", "/quit", "One") == ""


def test_a_broken_off_answer_is_remembered_as_far_as_it_went(results):
    talk = open_talk("instruct", SHORT)
    ids = alpaca_prompt("Hi")
    (whole,) = generate(talk.writer.model, [ids], max_new_tokens=9, end_of_text=256)
    assert len(whole) > 3
    out = []

    def write(piece):
        out.append(piece)
        if len(out) == 3:
            raise KeyboardInterrupt

    refused = []
    converse(talk, ["Hi"], write, refused.append)
    assert out[-2:] == [" ...", "\n"]
    assert talk.said[1]["content"] == bytes_tokenizer().decode(whole[:3])
    assert not refused
    out.clear()
    with pytest.raises(KeyboardInterrupt):  # in a pipe it ends the whole talk
        converse(talk, ["Hi", "again"], write)


def test_turns_that_no_longer_fit_are_not_looked_at_again(results, monkeypatch):
    """A prompt is made a few times for each text, however long the talk."""
    talk = open_talk("instruct", Settings(max_new_tokens=1))
    made = []
    prompt = type(talk.language.template).prompt

    def counted(self, messages):
        made.append(len(messages))
        return prompt(self, messages)

    monkeypatch.setattr(type(talk.language.template), "prompt", counted)
    said(talk, *["How are you today?"] * 40)
    assert max(made[40:]) == max(made[-6:]) < 12
    assert len(made) < 2 * 40 + 2


def test_characters_of_several_bytes_come_out_whole(results, monkeypatch):
    talk = open_talk("pretrain", SHORT)
    monkeypatch.setattr(type(talk), "_tokens", lambda self, ids: iter("aé🙂".encode()))
    assert "".join(talk.answer("x")) == "aé🙂"


def test_what_a_model_says_to_a_terminal_is_shown_and_not_obeyed(results, monkeypatch, capsys):
    answer = "\x1b[2J\r\x9b\tok"
    loaded = checkpoint.Checkpoint(parrot(answer), bytes_tokenizer())
    checkpoint.save(results / "parrot", loaded)
    monkeypatch.setattr(sys, "argv", ["llmill", "chat", "parrot"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("/settings \x1b[1m 5\n\n\x20\n"))
    monkeypatch.setattr("llmill.models.LanguageModel.completed", lambda *_: [10])
    with pytest.raises(SystemExit):
        __main__.main()
    refused, said = capsys.readouterr().out.splitlines()
    assert refused.startswith("no setting '\\x1b[1m'; one of temperature")
    assert said == "\\x1b[2J\\r\\x9b\tok"


def test_every_end_that_the_weights_name_ends_an_answer(results):
    """Also where our checkpoint was made from them: its tokenizer keeps them."""
    tokenizer = bytes_tokenizer()
    tokenizer.ends |= {ord("!")}
    loaded = checkpoint.Checkpoint(parrot("Paris!?"), tokenizer, template=ALPACA)
    checkpoint.save(results / "parrot", loaded)
    export.write(results / "exported", loaded)
    for name in ("parrot", "exported"):
        assert said(open_talk(name, SHORT), "Where") == "Paris\n"
    config = record.read_json(results / "exported/config.json")
    generation = record.read_json(results / "exported/generation_config.json")
    assert config["eos_token_id"] == generation["eos_token_id"] == [256, 33]


def test_a_label_and_a_text_are_shown_on_one_line(results, monkeypatch, capsys):
    labels = ["ham\x1b[31m", "spam\u202e"]
    classifier = checkpoint.Checkpoint(headed(2), bytes_tokenizer(), labels, 48)
    checkpoint.save(results / "steering", classifier)
    text = "\x1b]0;title\x07 and a byte \udcff\nmore"
    words = ["llmill", "classify-text", "--model", "steering", text]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        __main__.main()
    out = capsys.readouterr().out
    assert out.startswith(("ham\\x1b[31m  ", "spam\\u202e  "))
    assert out.endswith("%  \\x1b]0;title\\x07 and a byte \\udcff\\nmore\n")


def test_an_error_shows_what_it_quotes_on_one_line(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llmill", "chat", "/nowhere\x1b[31m\x08\n"])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    line = "llmill: /nowhere\\x1b[31m\\x08\\n: no model's folder, for it has no config.json"
    assert ended.value.code == line


def test_labels_come_with_their_probability(results):
    texts = ["win a prize", "see you", ""]
    model = checkpoint.load(results / "results/classify/all/checkpoint").model
    assert isinstance(model, ClassModel)
    for text, (label, likely) in zip(texts, guess("classify/all", texts), strict=True):
        ids = torch.tensor([[256, *text.encode()][-48:]])
        with torch.no_grad():
            chances = model(ids, torch.tensor([ids.size(1)])).softmax(dim=-1)[0]
        assert label == ["ham", "spam"][int(chances.argmax())]
        assert likely == pytest.approx(float(chances.max()))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: open_talk("grader", SHORT), r"results/grader/checkpoint: no checkpoint; name a stage that was made"),
        (lambda: open_talk("classify/all", SHORT), "not a language model; use `classify-text` with a classifier"),
        (lambda: open_talk("masked/checkpoint", SHORT), "cannot predict the next token; .* `snakemake --cores all accuracy`"),
        (lambda: guess("pretrain", ["x"]), "pretrain: not a classifier; name one, such as classify/all"),
        (lambda: guess("classify/some", ["x"]), "classify/some: no model.s folder or file, and no stage; did you mean classify/lora?"),
        (lambda: SHORT.changed("top_k", "0"), "top_k = '0': top_k must be 1 or more"),
        (lambda: SHORT.changed("top_p", "0"), "top_p must be from 1e-06 to 1"),
        (lambda: SHORT.changed("min_p", "2"), "min_p must be from 0 to 1"),
        (lambda: SHORT.changed("temperature", "-1"), "temperature must be 0, or 0.0001 or more"),
        (lambda: SHORT.changed("temperature", "nan"), "temperature must be 0, or 0.0001 or more"),
        (lambda: SHORT.changed("repetition_penalty", "0"), "repetition_penalty must be above 0"),
        (lambda: SHORT.changed("max_new_tokens", "0"), "max_new_tokens must be 1 or more"),
        (lambda: SHORT.changed("seed", "none"), "seed = 'none': not a number"),
        (lambda: SHORT.changed("seed", str(2**63)), "seed must be of 64 bits"),
    ],
)  # fmt: skip
def test_a_model_of_another_kind_and_an_impossible_setting_are_one_line(results, call, reason):
    with pytest.raises(UserError, match=reason):
        call()


def test_lines_of_a_pipe_are_answered_and_nothing_else_is_printed(results):
    words = [sys.executable, "-m", "llmill", "chat", "pretrain", "--max-new-tokens", "9"]
    done = subprocess.run(
        words,
        input="One\nTwo\n",
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == said(open_talk("pretrain", SHORT), "One", "Two")
    assert done.stderr == ""


def test_the_command_prints_label_probability_and_text(results, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["llmill", "classify-text", "see you"])
    with pytest.raises(SystemExit):
        __main__.main()
    ((label, likely),) = guess("classify/all", ["see you"])
    assert capsys.readouterr().out == f"{label}  {likely:6.1%}  see you\n"


def test_the_weights_number_type_is_an_option(results, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("llmill.chat.open_talk", lambda *given: opened.append(open_talk(*given)) or opened[0])  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["llmill", "chat", "pretrain", "--max-new-tokens", "9", "--dtype", "bfloat16"])  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO("One\n"))
    with pytest.raises(SystemExit):
        __main__.main()
    assert opened[0].writer.model.head.weight.dtype == torch.bfloat16
    assert capsys.readouterr().out == said(opened[0], "One")


def typed(content: bytes) -> io.TextIOWrapper:
    """Standard input as a pipe brings it."""
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


def run(monkeypatch, *words: str) -> str | int | None:
    """Exit code, or the line that it ends with."""
    monkeypatch.setattr(sys, "argv", ["llmill", *words])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    return ended.value.code


def test_lines_that_are_not_utf8_are_read_with_replacements_and_said(results, monkeypatch, capsys):
    read = []
    monkeypatch.setattr("llmill.chat.guess", lambda _, texts: [read.append(t) or ("ham", 1.0) for t in texts])  # fmt: skip
    monkeypatch.setattr(sys, "stdin", typed(b"caf\xe9 noir\nplain \xc3\xa9\n\xff\xfe\n"))
    assert run(monkeypatch, "classify-text") == 0
    said = capsys.readouterr()
    texts = ["caf\ufffd noir", "plain é", "\ufffd\ufffd"]
    assert read == texts
    assert said.out.splitlines() == [f"ham  100.0%  {text}" for text in texts]
    assert said.err.splitlines() == [
        "llmill: line 1 of the input: 1 byte is not UTF-8, and read as \ufffd; "
        "`iconv -f ENCODING -t UTF-8` converts what is in another encoding",
        "llmill: line 3 of the input: 2 bytes are not UTF-8, and read as \ufffd; "
        "`iconv -f ENCODING -t UTF-8` converts what is in another encoding",
    ]


def test_a_chat_goes_on_behind_a_line_that_is_not_utf8(results, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", typed(b"caf\xe9\nTwo\n"))
    assert run(monkeypatch, "chat", "pretrain", "--max-new-tokens", "9") == 0
    shown = capsys.readouterr()
    assert shown.out == said(open_talk("pretrain", SHORT), "caf\ufffd", "Two")
    assert shown.err.startswith("llmill: line 1 of the input: 1 byte is not UTF-8")


def test_an_argument_that_is_not_utf8_is_classified_and_said(results, monkeypatch, capsys):
    assert run(monkeypatch, "classify-text", "caf\udce9", "plain") == 0
    shown = capsys.readouterr()
    assert [line.split("%  ")[1] for line in shown.out.splitlines()] == ["caf\\udce9", "plain"]
    assert shown.err.startswith("llmill: text 1: 1 byte is not UTF-8")


def test_an_empty_text_has_no_label(results, monkeypatch):
    line = "an empty text, which has no label; leave it out"
    assert run(monkeypatch, "classify-text", "") == f"llmill: text 1: {line}"
    monkeypatch.setattr(sys, "stdin", typed(b"win\n \n"))
    assert run(monkeypatch, "classify-text") == f"llmill: text 2: {line}"


@pytest.mark.parametrize("stdin", [typed(b""), None])
def test_no_input_at_all_is_one_line_or_nothing(results, monkeypatch, capsys, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    line = "llmill: no text to classify: name texts, or pipe lines into the command"
    assert run(monkeypatch, "classify-text") == line
    assert run(monkeypatch, "chat", "pretrain") == 0
    assert capsys.readouterr() == ("", "")


def test_an_input_that_cannot_be_read_is_one_line(results, monkeypatch, tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    with io.TextIOWrapper(io.FileIO(os.devnull)) as stream:
        os.dup2(folder, stream.fileno())
        os.close(folder)
        monkeypatch.setattr(sys, "stdin", stream)
        assert run(monkeypatch, "classify-text") == "llmill: standard input: Is a directory"
