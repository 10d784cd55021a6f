"""Classifiers beside transformers' `...ForSequenceClassification`: the same class of the same text."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmill.contract.errors import UserError
from llmill.model import classifiers, huggingface
from llmill.model.architectures import ARCHITECTURES
from llmill.model.heads import ClassModel
from llmill.model.transformer import Transformer
from llmill.training.batches import pad
from tests.model.test_huggingface import SIZES, VOCAB, forms
from tests.model.test_transformer import GPT2, LLAMA, MODERN

transformers = pytest.importorskip("transformers")

PAD = 95
LABELS = ["no", "perhaps", "yes"]
SPECIAL = {"pad_token_id": PAD, "bos_token_id": PAD, "eos_token_id": PAD}
HEAD = {**SPECIAL, **classifiers.write(LABELS)}


def gpt2(**changes):
    sizes = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128}
    dropout = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    config = transformers.GPT2Config(**sizes, **dropout, **HEAD | changes)
    return transformers.GPT2ForSequenceClassification(config)


def llama(**changes):
    config = transformers.LlamaConfig(**SIZES | HEAD | changes)
    return transformers.LlamaForSequenceClassification(config)


THEIRS = forms(gpt2, llama)
OURS = {
    "gpt2, tied": GPT2,
    "gpt2, untied": GPT2.model_copy(update={"tied": False}),
    "llama, grouped heads, untied": LLAMA,
    "llama, tied": LLAMA.model_copy(update={"n_kv_head": 2, "tied": True}),
    "llama, biases": LLAMA.model_copy(update={"bias": True}),
}


def drawn(model: torch.nn.Module) -> torch.nn.Module:
    """Weights far from where they begin, so that no term is small."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.2)
    return model.float().eval()


@pytest.fixture(params=THEIRS)
def theirs(request):
    return drawn(THEIRS[request.param]())


@pytest.fixture(params=OURS)
def ours(request) -> ClassModel:
    return drawn(ClassModel(Transformer(OURS[request.param], VOCAB), len(LABELS)))


def rows() -> list[list[int]]:
    """What a classifier reads, as `tasks.classification` makes it: `<|endoftext|>`, which is also
    the padding, and texts that never hold it, the first of them empty.
    """
    draw = torch.Generator().manual_seed(2)
    return [[PAD, *torch.randint(PAD, (n,), generator=draw).tolist()] for n in (0, 11, 1, 6)]


def read(model: ClassModel, texts: list[list[int]]) -> torch.Tensor:
    return model(pad(texts, 0), torch.tensor([len(ids) for ids in texts]))


def read_there(model: torch.nn.Module, texts: list[list[int]]) -> torch.Tensor:
    """As their tokenizer pads, with its mask."""
    ids = pad(texts, PAD)
    lengths = torch.tensor([len(text) for text in texts])
    mask = torch.arange(ids.size(1)) < lengths[:, None]
    return model(input_ids=ids, attention_mask=mask.long()).logits


def save(folder: Path, model: ClassModel) -> None:
    huggingface.save(folder, model, huggingface.fitting(model.config), SPECIAL, labels=LABELS)


def test_what_transformers_saved_gives_the_same_logits_here(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    model, labels = huggingface.load_classifier(tmp_path)
    assert labels == LABELS
    torch.testing.assert_close(
        read(model, rows()), read_there(theirs, rows()), rtol=1e-4, atol=1e-4
    )


def test_the_loss_has_the_same_gradient_in_every_tensor_here_and_there(theirs, tmp_path):
    """But for the embedding of the padding, which Llama does not train there."""
    theirs.save_pretrained(tmp_path)
    model, _ = huggingface.load_classifier(tmp_path)
    targets = torch.tensor([2, 0, 1, 2])
    loss = torch.nn.functional.cross_entropy(read(model, rows()), targets)
    ids = pad(rows(), PAD)
    wanted = theirs(input_ids=ids, labels=targets).loss
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-4)
    loss.backward()
    wanted.backward()
    if theirs.get_input_embeddings().padding_idx is not None:
        assert model.body.embedding.weight.grad[PAD].norm() > 1e-3
        model.body.embedding.weight.grad[PAD] = 0
    architecture = huggingface.fitting(model.config)
    layout = classifiers.layout(architecture.layout(model.config, VOCAB), len(LABELS))
    ours = dict(model.named_parameters())
    assert layout.keys() == ours.keys()
    there = dict(theirs.named_parameters())
    for name, parts in layout.items():
        for part, found in zip(parts, ours[name].grad.split([p.rows for p in parts]), strict=True):
            found = part.change(found) if part.change else found
            torch.testing.assert_close(found, there.pop(part.name).grad, rtol=1e-4, atol=1e-4)
    assert there == {}


def test_a_classifier_made_here_gives_the_same_logits_there_alone_and_in_a_batch(ours, tmp_path):
    save(tmp_path, ours)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    wanted = read(ours, rows())
    torch.testing.assert_close(read_there(theirs, rows()), wanted, rtol=1e-4, atol=1e-4)
    for text, logits in zip(rows(), wanted, strict=True):
        torch.testing.assert_close(read_there(theirs, [text]), logits[None], rtol=1e-4, atol=1e-4)


def test_out_and_in_again_changes_no_bit_of_any_tensor_and_no_label(ours, tmp_path):
    save(tmp_path / "out", ours)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert theirs.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}
    assert theirs.config.label2id == {"no": 0, "perhaps": 1, "yes": 2}
    theirs.save_pretrained(tmp_path / "back")
    back, labels = huggingface.load_classifier(tmp_path / "back")
    assert labels == LABELS
    assert back.config == ours.config
    before, after = ours.state_dict(), back.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_labels_are_in_the_order_of_their_numbers_whatever_the_file_has(tmp_path):
    names = [f"class {i}" for i in range(12)]
    llama(**classifiers.write(names)).save_pretrained(tmp_path)
    edit(tmp_path, id2label={str(i): names[i] for i in (10, 2, 1, 0, 11, 9, 8, 7, 6, 5, 4, 3)})
    assert huggingface.load_classifier(tmp_path)[1] == names


def test_transformers_has_no_classifier_of_nanochat_blocks(tmp_path):
    assert not hasattr(transformers, "NanoChatForSequenceClassification")
    architecture = huggingface.fitting(MODERN)
    assert architecture.called(classifier=False) == "NanoChatForCausalLM"
    assert architecture.called(classifier=True) is None
    llama().save_pretrained(tmp_path)
    edit(tmp_path, model_type="nanochat")
    assert re.search("model_type = 'nanochat': transformers has no classifier", refusal(tmp_path))


def test_every_other_architecture_names_a_class_of_transformers():
    for kind in ("gpt2", "llama"):
        architecture = ARCHITECTURES[kind]
        for classifier in (False, True):
            made = getattr(transformers, architecture.called(classifier))
            assert made.config_class.model_type == kind


def edit(folder: Path, **changes) -> None:
    """Set options of a config, or with None take them out."""
    values = json.loads((folder / "config.json").read_text()) | changes
    kept = {name: value for name, value in values.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        huggingface.load_classifier(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id2label": None}, "config.json: id2label is missing"),
        ({"id2label": ["a", "b", "c"]}, r"id2label = \['a', 'b', 'c'\]: it must give two or more"),
        ({"id2label": {"0": "a"}}, "id2label = .*: it must give two or more classes"),
        ({"id2label": {"1": "a", "2": "b", "3": "c"}}, "numbered from '0'"),
        ({"id2label": {"0": "a", "1": "b", "2": "a"}}, "a different name each"),
        ({"id2label": {"0": "a", "1": "b", "2": 7}}, "a different name each"),
        ({"id2label": {"0": "a", "1": "b"}}, r"score.weight: the file has \(3, 32\), .* \(2, 32\)"),
        ({"problem_type": "regression"}, "problem_type = 'regression' is not supported"),
        ({"problem_type": "multi_label_classification"}, "problem_type = .* is not supported"),
        ({"architectures": ["LlamaForTokenClassification"]}, "architectures = .* is not supported"),
        ({"sliding_window": 64}, "sliding_window = 64: llmill does not know this option"),
    ],
)  # fmt: skip
def test_a_classifier_that_would_be_another_one_is_refused_by_name(tmp_path, changes, reason):
    llama().save_pretrained(tmp_path)
    edit(tmp_path, **changes)
    assert re.search(reason, refusal(tmp_path))


def test_a_head_with_a_bias_and_a_folder_without_a_head_are_refused(tmp_path):
    llama().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "score.bias": torch.zeros(3)}, file)
    assert re.search("score.bias: a tensor that llmill does not know", refusal(tmp_path))
    save_file({k: v for k, v in tensors.items() if k != "score.weight"}, file)
    assert re.search("score.weight: no such tensor", refusal(tmp_path))


def test_a_classifier_is_not_read_as_a_language_model(tmp_path):
    llama().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"lm_head\.weight: no such tensor"):
        huggingface.load(tmp_path)
    llama(tie_word_embeddings=True).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"score\.weight: a tensor that llmill does not know"):
        huggingface.load(tmp_path)
