"""Stage export: a folder that transformers loads, and what its card says."""

import re
import shutil
from types import SimpleNamespace

import pytest
import torch

from llmill import models
from llmill.contract import record
from llmill.contract.errors import UserError
from llmill.evaluation.inference import parity
from llmill.evaluation.inference.scoring import head_outputs
from llmill.model import architectures, checkpoint, huggingface
from llmill.model.generate import generate
from llmill.model.heads import ClassModel
from llmill.model.settings import RotaryScaling
from llmill.model.transformer import Transformer
from llmill.stages.export import run, write
from llmill.stages.instruct import example
from llmill.stages.settings.export import Export
from llmill.tasks import classification
from llmill.tasks.instruction import Instruction
from llmill.tasks.templates import ALPACA, CHATML, PLAIN
from llmill.text.tokenization.template import Template
from llmill.text.tokenization.tokenizer import Tokenizer, train
from tests.evaluation.toys import SMOLLM2, alpaca_prompt, bytes_tokenizer, decoder, masked
from tests.jobs import Job
from tests.model.test_checkpoint import save_adapter
from tests.model.test_transformer import GPT2, LLAMA, MODERN
from tests.text.test_tokenizer import TEXTS

SOURCES = [
    {
        "title": "Old novels",
        "licence": "public domain",
        "files": [{"path": "a.txt", "bytes": 3, "sha256": "ab" * 32}],
    }
]


@pytest.fixture
def paths(tmp_path):
    """Two stages' checkpoints with figures, and where their data came from."""
    for role in ("text", "instruction", "classification"):
        (tmp_path / "data/download" / role).mkdir(parents=True)
        record.write_json(tmp_path / "data/download" / role / "sources.json", SOURCES)
    (tmp_path / "data/download/init").mkdir()
    record.write_json(tmp_path / "data/download/init/sources.json", [])
    for stage, loss in (("pretrain", 1.23456), ("instruct", 0.5)):
        torch.manual_seed(1)
        model = Transformer(MODERN.model_copy(update={"block_size": 256}), 257)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        folder = tmp_path / "results" / stage
        template = ALPACA if stage == "instruct" else None
        saved = checkpoint.Checkpoint(model, bytes_tokenizer(), template=template)
        checkpoint.save(folder / "checkpoint", saved)
        record.write_json(folder / "metrics.json", {"validation_loss": loss, "steps": 1200})
    return tmp_path


def export(paths, tmp_path, variant, dtype="float32", gguf=None, adapter="merged"):
    job = Job(tmp_path / f"export-{variant.replace('/', '-')}", variant)
    run(SimpleNamespace(export=Export(dtype=dtype, gguf=gguf, adapter=adapter)), job)
    return job.out / "model"


def test_transformers_loads_model_and_tokenizer_without_our_code(paths, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = export(paths, tmp_path, "pretrain")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    loaded = checkpoint.load(tmp_path / "results/pretrain/checkpoint")
    text = "Zürich is  a city.\n"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == loaded.tokenizer.encode(text)
    torch.testing.assert_close(theirs(ids).logits, loaded.model(ids), rtol=1e-4, atol=1e-4)
    assert theirs.generation_config.eos_token_id == loaded.tokenizer.end_of_text
    assert tokenizer.eos_token_id == loaded.tokenizer.end_of_text


def test_what_the_chat_template_makes_is_what_the_assistant_was_trained_on(paths, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = export(paths, tmp_path, "instruct")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "Name a\ncity."}]
    inputs = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    loaded = checkpoint.load(tmp_path / "results/instruct/checkpoint")
    ids = alpaca_prompt("Name a\ncity.")
    assert inputs["input_ids"][0].tolist() == ids
    end = loaded.tokenizer.end_of_text
    (wanted,) = generate(loaded.model, [ids], max_new_tokens=40, end_of_text=end)
    made = theirs.generate(**inputs, max_new_tokens=40)[0, len(ids) :].tolist()
    assert [i for i in made if i != end] == wanted


@pytest.mark.parametrize("form", ["merged", "peft"])
def test_an_adapter_is_merged_and_where_asked_for_written_by_itself_too(paths, tmp_path, form):
    foundation = tmp_path / "results/pretrain/checkpoint"
    shutil.rmtree(tmp_path / "results/instruct/checkpoint")
    trained = save_adapter(
        foundation, tmp_path / "results/instruct/checkpoint", checkpoint.load(foundation).model,
        template=ALPACA,
    )  # fmt: skip
    folder = export(paths, tmp_path, "instruct", adapter=form)
    merged, idx = huggingface.load(folder), torch.tensor([[1, 2, 3]])
    assert torch.equal(merged(idx), trained(idx))
    apart = folder.with_name("adapter")
    assert apart.exists() == (form == "peft")
    if apart.exists():
        said = record.read_json(apart / "adapter_config.json")
        base = tmp_path / "results/export/pretrain/model"
        assert (said["base_model_name_or_path"], said["target_modules"]) == (str(base), ["q_proj"])


SAID = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Name a"}, {"type": "text", "text": " city."}]},
    {"role": "assistant", "content": "Zürich."},
    {"role": "user", "content": "And <b>another</b>?\n"},
    {"role": "assistant", "content": "Bern. "},
]  # fmt: skip


@pytest.mark.parametrize(
    "source", [ALPACA, PLAIN, CHATML, SMOLLM2], ids=["alpaca", "plain", "chatml", "smollm2"]
)
def test_the_exported_template_makes_of_a_conversation_the_ids_that_training_reads(
    tmp_path, source
):
    transformers = pytest.importorskip("transformers")
    special = {"<|im_start|>": 256, "<|im_end|>": 257}
    made = Tokenizer({bytes([b]): b for b in range(256)}, special=special, end_name="<|im_end|>")
    torch.manual_seed(1)
    model = Transformer(LLAMA, 258).eval()
    write(tmp_path / "model", checkpoint.Checkpoint(model, made, template=source))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    joined = [*SAID[:1], {"role": "user", "content": "Name a city."}, *SAID[2:]]
    entry = Instruction(joined[3]["content"], "", joined[4]["content"], earlier=joined[:3])
    ids, targets = example(entry, Template(source, made), block=4096, mask_prompt=True)
    said = joined if source == SMOLLM2 else SAID  # whose template joins no parts
    whole = theirs.apply_chat_template(said, return_dict=False)
    assert ids == whole[:-1]
    learnt = bytes(t if t < 256 else ord("|") for t in targets if t >= 0).decode()
    assert learnt == (" Zürich.| Bern.|" if source == PLAIN else "Zürich.|Bern. |")
    prompt = theirs.apply_chat_template(said[:-1], add_generation_prompt=True, return_dict=False)
    assert prompt == Template(source, made).prompt(entry.asked)
    image = [{"role": "user", "content": [{"type": "image", "url": "x"}]}]
    if source != SMOLLM2:
        with pytest.raises(Exception, match="a part of type 'image', expected text"):
            theirs.apply_chat_template(image)


def test_the_template_of_weights_that_passed_through_is_exported_with_them(tmp_path):
    saved = checkpoint.Checkpoint(decoder(), bytes_tokenizer(), weights_template="{{ 1 }}")
    write(tmp_path / "model", saved)
    assert record.read_json(tmp_path / "model/tokenizer_config.json")["chat_template"] == "{{ 1 }}"


def test_a_batch_of_prompts_is_padded_where_generation_does_not_go_on(paths, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(export(paths, tmp_path, "instruct"))
    assert tokenizer(["abc", "d"], padding=True)["attention_mask"] == [[1, 1, 1], [0, 0, 1]]


def test_bfloat16_halves_the_weights_and_the_card_says_that_they_were_rounded(paths, tmp_path):
    whole = (export(paths, tmp_path, "pretrain") / "model.safetensors").stat().st_size
    half = (export(paths, tmp_path, "instruct", "bfloat16") / "model.safetensors").stat().st_size
    assert 0.4 * whole < half < 0.6 * whole
    assert "rounded from the float32" in (tmp_path / "export-instruct/model/README.md").read_text()


def test_the_card_names_data_licences_figures_and_files(paths, tmp_path):
    folder = export(paths, tmp_path, "instruct")
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f'from_pretrained("{tmp_path}/export-instruct/model")' in card
    assert (
        "- instruction: **Old novels**; licence: public domain; 1 file, sha256 of the file `"
        + "ab" * 32
        in card
    )
    assert "| validation loss | 0.5 |\n| steps | 1,200 |" in card
    for file in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json"):
        assert f"| `{file}` | `{record.sha256_file(folder / file)}` |" in card
    assert "apply_chat_template" in card
    assert "rounded" not in card
    assert not re.search(r"\{[{%]", card)


ELSE = "and it was not tested for any use."


@pytest.mark.parametrize("variant", ["pretrain", "instruct", "classify/all"])
def test_the_card_says_that_the_data_of_weights_to_begin_from_are_not_known(
    paths, tmp_path, variant
):
    classifier(tmp_path, LLAMA)
    plain = (export(paths, tmp_path, variant) / "README.md").read_text()
    assert f"The model was trained only on the data above, {ELSE}\n" in plain
    assert "started from" not in plain
    (weights,) = SOURCES
    init = tmp_path / "data/download/init/sources.json"
    record.write_json(init, [weights | {"title": "Weights in the folder models/world"}])
    shutil.rmtree(tmp_path / f"export-{variant.replace('/', '-')}")
    card = (export(paths, tmp_path, variant) / "README.md").read_text()
    assert "- init: **Weights in the folder models/world**" in card
    assert "trained only on the data above" not in card
    assert (
        "Training started from the weights above. The data of these weights are not known here. From "
        f"there on, the model was trained only on the other data above, {ELSE} The text above is the "
        "input of stage `pretrain`. If that stage has 0 steps, it only measured the model on this "
        "text.\n"
    ) in card


def mixed() -> Transformer:
    return Transformer(decoder().config.model_copy(update={"mlp": "swiglu"}), 257)


@pytest.mark.parametrize("make", [mixed, masked])
def test_a_form_that_transformers_does_not_have_is_said_and_not_exported(paths, tmp_path, make):
    folder = tmp_path / "results/pretrain/checkpoint"
    shutil.rmtree(folder)
    checkpoint.save(folder, checkpoint.Checkpoint(make(), bytes_tokenizer()))
    job = Job(tmp_path / "out", "pretrain")
    run(SimpleNamespace(export=Export(dtype="float32", gguf=None, adapter="merged")), job)
    assert job.said == [
        "not exported: transformers has no architecture with these switches of `model`"
    ]
    assert [p.name for p in job.out.iterdir()] == ["metrics.json"]


LABELS = ["ham", "perhaps", "spam"]
MESSAGES = [
    "", "Win a prize!", "Zürich  \n", "no end " * 9, "a word", "Hello<|endoftext|>",
    "<|endoftext|>", "<|endoftext|>x<|endoftext|><|endoftext|>", "y" * 30, "y" * 31, "y" * 32,
]  # fmt: skip


def classifier(tmp_path, config, **how: object) -> checkpoint.Checkpoint:
    """A classifier that reads 32 tokens, as variant `all` of stage classify leaves it."""
    torch.manual_seed(1)
    shape = config.model_copy(update={"block_size": 64})
    model = ClassModel(Transformer(shape, 257), len(LABELS), **how)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    made = checkpoint.Checkpoint(model.eval(), bytes_tokenizer(), LABELS, 32)
    folder = tmp_path / "results/classify/all"
    checkpoint.save(folder / "checkpoint", made)
    record.write_json(folder / "metrics.json", {"validation_accuracy": 0.9753, "steps": 400})
    return made


def probabilities(made: checkpoint.Checkpoint) -> list[dict[str, float]]:
    """What each label of each message gets here."""
    rows = [classification.encode(made.tokenizer, text, made.max_length) for text in MESSAGES]
    return [
        dict(zip(LABELS, likely, strict=True))
        for likely in head_outputs(made.model, rows, 64).softmax(dim=-1).tolist()
    ]


def classified(folder, batch_size: int) -> list[dict[str, float]]:
    """The same by a pipeline of transformers."""
    transformers = pytest.importorskip("transformers")
    pipe = transformers.pipeline(
        "text-classification", str(folder), truncation=True, top_k=None, device="cpu"
    )
    return [
        {r["label"]: r["score"] for r in found} for found in pipe(MESSAGES, batch_size=batch_size)
    ]


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_a_pipeline_gives_every_message_our_labels_and_probabilities(paths, tmp_path, config):
    """Also an empty message, a longer one than is read, and one that holds `<|endoftext|>`."""
    made = classifier(tmp_path, config)
    folder = export(paths, tmp_path, "classify/all")
    wanted = probabilities(made)
    assert len({round(likely["spam"], 3) for likely in wanted}) > 5
    for batch_size in (1, 4, len(MESSAGES)):
        for found, likely in zip(classified(folder, batch_size), wanted, strict=True):
            assert found == pytest.approx(likely, abs=1e-5)


def test_the_tokenizer_of_a_classifier_makes_what_the_classifier_was_trained_on(paths, tmp_path):
    transformers = pytest.importorskip("transformers")
    made = classifier(tmp_path, GPT2)
    tokenizer = transformers.AutoTokenizer.from_pretrained(export(paths, tmp_path, "classify/all"))
    for text in MESSAGES:
        ids = classification.encode(made.tokenizer, text, 32)
        assert tokenizer(text, truncation=True)["input_ids"] == ids
    padded = tokenizer(["abc", ""], padding=True)
    assert padded["input_ids"] == [[256, 97, 98, 99], [256, 256, 256, 256]]
    assert padded["attention_mask"] == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert sorted(padded) == ["attention_mask", "input_ids"]


def test_the_card_of_a_classifier_names_its_labels_and_data_and_shows_a_pipeline(paths, tmp_path):
    classifier(tmp_path, LLAMA)
    folder = export(paths, tmp_path, "classify/all")
    card = (folder / "README.md").read_text()
    assert card.startswith(
        "---\nlibrary_name: transformers\npipeline_tag: text-classification\n---\n\n"
        "# llmill classify/all\n\nThis is a classifier that assigns one of several labels to a text."
    )
    assert f'model="{tmp_path}/export-classify-all/model", truncation=True)' in card
    assert "Labels: ham, perhaps, spam. The model reads 32 tokens" in card
    assert "- text: **Old novels**" in card
    assert "- classification: **Old novels**" in card
    assert "- instruction:" not in card
    assert "| validation accuracy | 0.9753 |\n| steps | 400 |" in card
    assert "generate" not in card
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    metrics = record.read_json(tmp_path / "export-classify-all/metrics.json")
    assert metrics["architecture"] == "LlamaForSequenceClassification"


def test_a_classifier_of_blocks_that_transformers_classifies_nothing_with_is_not_exported(
    paths, tmp_path
):
    classifier(tmp_path, MODERN)
    job = Job(tmp_path / "out", "classify/all")
    run(SimpleNamespace(export=Export(dtype="float32", gguf=None, adapter="merged")), job)
    assert job.said == ["not exported: transformers has no classifier of the architecture nanochat"]
    assert [p.name for p in job.out.iterdir()] == ["metrics.json"]
    metrics = record.read_json(job.out / "metrics.json")
    assert (metrics["architecture"], metrics["files"]) == (None, {})
    assert metrics["parameters"] > 0


@pytest.mark.parametrize(
    "how", [{"reads": "mean"}, {"reads": "first"}, {"both_ways": True, "reads": "last"}]
)
def test_a_classifier_that_reads_otherwise_than_transformers_is_not_exported(paths, tmp_path, how):
    classifier(tmp_path, GPT2, **how)
    job = Job(tmp_path / "out", "classify/all")
    run(SimpleNamespace(export=Export(dtype="float32", gguf=None, adapter="merged")), job)
    assert job.said == [
        "not exported: transformers supports only causal gpt2 classifiers that read the last token"
    ]
    assert [p.name for p in job.out.iterdir()] == ["metrics.json"]


def trained(shape, size: int = 264) -> tuple[Transformer, Tokenizer]:
    """A random model of this shape over a learnt tokenizer, whose logits differ as a trained one's
    do.
    """
    tokenizer = train(TEXTS, size)
    torch.manual_seed(1)
    model = Transformer(shape, tokenizer.n_vocab).eval()
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, std=0.15)
    return model, tokenizer


WIDE = {"n_embd": 64, "n_head": 4, "n_kv_head": 4, "mlp_hidden": 96, "block_size": 256}
SCALING = RotaryScaling(
    factor=4.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_block_size=32
)
FORMS = {
    "gpt2": GPT2.model_copy(update=WIDE),
    "llama": LLAMA.model_copy(update={**WIDE, "n_kv_head": 2}),
    "llama, slower": LLAMA.model_copy(update={**WIDE, "rotary_scaling": SCALING}),
}


@pytest.fixture(params=FORMS)
def formed(request, paths):
    """An assistant of a form that llama.cpp has, in place of the other."""
    model, tokenizer = trained(FORMS[request.param])
    folder = paths / "results/instruct/checkpoint"
    shutil.rmtree(folder)
    made = checkpoint.Checkpoint(model, tokenizer, template=ALPACA)
    checkpoint.save(folder, made)
    return made


@pytest.mark.parametrize("numbers", ["float16", "bfloat16", "q8_0"])
def test_llama_cpp_answers_as_llmill_does(formed, paths, tmp_path, numbers):
    """32 of 32 greedy tokens through the template, as the stage itself has proved."""
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    pytest.importorskip("xllamacpp", reason="llama.cpp's package xllamacpp is not installed")
    export(paths, tmp_path, "instruct", gguf=numbers)
    out = tmp_path / "export-instruct"
    assert sorted(p.name for p in (out / "gguf").iterdir()) == ["Modelfile", "model.gguf"]
    checked = record.read_json(out / "metrics.json")["checked"]
    assert checked["transformers"] == {"tokens": 32, "same": 32}
    # Of rounder numbers one may be the second of two that are near: the stage has looked how near.
    found = checked[f"llama.cpp {numbers}"]
    assert found["tokens"] == 32
    assert found["same"] >= (32 if numbers == "float16" else 28)
    back = models.language_model(str(out / "gguf"))
    assert back.model.config == formed.model.config
    assert (back.tokenizer.ranks, back.tokenizer.ends) == (formed.tokenizer.ranks, {263})
    assert back.assistant


NAMING = (  # as the template of weights is kept that begins a prompt with a token of its own
    '{% set bos_token = "B" %}\n{{ bos_token }}{% for m in messages %}{{ m.role ~ ": " ~ m.content '
    '~ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ "assistant: " }}{% endif %}'
)


@pytest.mark.parametrize("source", [CHATML.replace("<|im_end|>", "<|endoftext|>"), NAMING])
def test_a_prompt_that_begins_with_no_end_of_text_begins_with_none_in_llama_cpp(
    paths, tmp_path, source
):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    pytest.importorskip("xllamacpp", reason="llama.cpp's package xllamacpp is not installed")
    model, tokenizer = trained(FORMS["llama"])
    folder = paths / "results/instruct/checkpoint"
    shutil.rmtree(folder)
    checkpoint.save(folder, checkpoint.Checkpoint(model, tokenizer, template=source))
    export(paths, tmp_path, "instruct", gguf="float16")
    checked = record.read_json(tmp_path / "export-instruct/metrics.json")["checked"]
    assert checked["llama.cpp float16"] == {"tokens": 32, "same": 32}


def test_an_answer_that_ends_at_once_is_compared_to_its_32nd_token(paths, tmp_path):
    pytest.importorskip("xllamacpp", reason="llama.cpp's package xllamacpp is not installed")
    model, tokenizer = trained(FORMS["llama"].model_copy(update={"tied": False}))
    made = checkpoint.Checkpoint(model, tokenizer, template=ALPACA)
    asked = parity.question(made)
    assert asked is not None
    with torch.inference_mode():
        first = int(model(torch.tensor([asked.ids]))[0, -1].argmax())
        rows = [first, tokenizer.end_of_text]
        model.head.weight[rows] = model.head.weight[rows[::-1]]
    shutil.rmtree(paths / "results/instruct/checkpoint")
    checkpoint.save(paths / "results/instruct/checkpoint", made)
    export(paths, tmp_path, "instruct", gguf="float16")
    checked = record.read_json(tmp_path / "export-instruct/metrics.json")["checked"]
    every = {"tokens": 32, "same": 32}
    assert checked == {"transformers": every, "llama.cpp float16": every}


def test_several_files_are_named_by_their_numbers_and_the_first_is_ollamas(formed, paths, tmp_path):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    export(paths, tmp_path, "instruct", gguf=["q8_0", "float16"])
    folder = tmp_path / "export-instruct/gguf"
    assert sorted(p.name for p in folder.iterdir()) == [
        "Modelfile", "model-float16.gguf", "model-q8_0.gguf",
    ]  # fmt: skip
    assert (folder / "Modelfile").read_text().startswith("FROM ./model-q8_0.gguf\n")


def test_a_mismatch_fails_the_stage_and_says_where(formed, paths, tmp_path, monkeypatch):
    """Here rows of queries and keys lie in the order of Hugging Face's."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's package xllamacpp is not installed")
    if formed.model.config.position == "learned":
        pytest.skip("no rotary positions")
    monkeypatch.setattr("llmill.model.gguf.pairs_together", lambda rows, size: rows)
    with pytest.raises(
        UserError, match=r"llama\.cpp float16 says token \d+ at place \d+ after 'What"
    ):
        export(paths, tmp_path, "instruct", gguf="float16")


def test_an_export_that_transformers_read_otherwise_fails_the_stage(paths, tmp_path, monkeypatch):
    """Here the halves of nanochat's heads do not change places."""
    pytest.importorskip("transformers")
    monkeypatch.setattr(architectures, "_halves_swapped", lambda rows, size: rows)
    with pytest.raises(
        UserError, match=r"transformers says token \d+ at place \d+ after 'The capital"
    ):
        export(paths, tmp_path, "pretrain")


def test_what_is_not_installed_is_named_as_not_tried(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "installed", lambda package: False)
    job = Job(tmp_path / "out", "pretrain")
    run(SimpleNamespace(export=Export(dtype="float32", gguf=None, adapter="merged")), job)
    assert record.read_json(job.out / "metrics.json")["checked"] == {"transformers": "not tried"}
    assert (
        "not tried: transformers is not installed, so nothing loaded what was written" in job.said
    )


def test_blocks_that_llama_cpp_does_not_have_become_no_gguf(paths, tmp_path):
    job = Job(tmp_path / "out", "pretrain")
    run(SimpleNamespace(export=Export(dtype="float32", gguf="q8_0", adapter="merged")), job)
    assert "no GGUF: llama.cpp has no architecture with these switches of `model`" in job.said
    assert not (job.out / "gguf").exists()
