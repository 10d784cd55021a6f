"""Stage export: a folder that transformers loads, and what its card says."""

import re
import shutil
from types import SimpleNamespace

import pytest
import torch

from llmill.contract import record
from llmill.contract.schema import Export, Paths
from llmill.model import checkpoint
from llmill.model.generate import generate
from llmill.model.transformer import Transformer
from llmill.stages.export import run
from llmill.stages.instruct import prompt_ids
from llmill.tasks.instruction import Instruction
from tests.evaluation.toys import Job, bytes_tokenizer, decoder
from tests.model.test_transformer import MODERN

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
    paths = Paths(data=str(tmp_path / "data"), results=str(tmp_path / "results"))
    for role in ("text", "instruction"):
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
        checkpoint.save(folder / "checkpoint", checkpoint.Checkpoint(model, bytes_tokenizer()))
        record.write_json(folder / "metrics.json", {"validation_loss": loss, "steps": 1200})
    return paths


def export(paths, tmp_path, variant, dtype="float32"):
    job = Job(tmp_path / f"export-{variant}", variant)
    run(SimpleNamespace(paths=paths, export=Export(dtype=dtype)), job)
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
    ids = prompt_ids(loaded.tokenizer, Instruction("Name a\ncity.", "", ""))
    assert inputs["input_ids"][0].tolist() == ids
    end = loaded.tokenizer.end_of_text
    (wanted,) = generate(loaded.model, [ids], max_new_tokens=40, end_of_text=end)
    made = theirs.generate(**inputs, max_new_tokens=40)[0, len(ids) :].tolist()
    assert [i for i in made if i != end] == wanted
    with pytest.raises(Exception, match="one message"):
        tokenizer.apply_chat_template([*chat, *chat], tokenize=False)


def test_bfloat16_halves_the_weights_and_the_card_says_that_they_were_rounded(paths, tmp_path):
    whole = (export(paths, tmp_path, "pretrain") / "model.safetensors").stat().st_size
    half = (export(paths, tmp_path, "instruct", "bfloat16") / "model.safetensors").stat().st_size
    assert 0.4 * whole < half < 0.6 * whole
    assert "rounded from the float32" in (tmp_path / "export-instruct/model/README.md").read_text()


def test_the_card_names_data_licences_figures_and_files(paths, tmp_path):
    folder = export(paths, tmp_path, "instruct")
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f'from_pretrained("{paths.export}/instruct/model")' in card
    assert (
        "- instruction: **Old novels**; licence: public domain; 1 file, sha256 of it `" + "ab" * 32
        in card
    )
    assert "| validation loss | 0.5 |\n| steps | 1,200 |" in card
    for file in ("config.json", "model.safetensors", "tokenizer.json", "generation_config.json"):
        assert f"| `{file}` | `{record.sha256_file(folder / file)}` |" in card
    assert "apply_chat_template" in card
    assert "rounded" not in card
    assert not re.search(r"\{[{%]", card)


def test_a_form_that_transformers_does_not_have_is_said_and_not_exported(paths, tmp_path):
    folder = tmp_path / "results/pretrain/checkpoint"
    mixed = decoder(block_size=64).config.model_copy(update={"mlp": "swiglu"})
    shutil.rmtree(folder)
    checkpoint.save(folder, checkpoint.Checkpoint(Transformer(mixed, 257), bytes_tokenizer()))
    job = Job(tmp_path / "out", "pretrain")
    run(SimpleNamespace(paths=paths, export=Export(dtype="float32")), job)
    assert job.said == [
        "not exported: transformers has no architecture with these switches of `model`"
    ]
    assert [p.name for p in job.out.iterdir()] == ["metrics.json"]
