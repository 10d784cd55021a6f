"""Tokenizers of other makers: the ids that their own library gives, for every text, or a refusal.

The makers' files are not here; these are trained with the same settings on a little text.
"""

import json
import random
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from llmill.contract.errors import UserError
from llmill.text.tokenization import hf_tokenizer, patterns, tokenizer_json
from llmill.text.tokenization.tokenizer import train
from tests.text.test_tokenizer import STRANGE, TEXTS

SAMPLES = [
    *TEXTS, *STRANGE[:-1], "It's 2,024 o'clock; we'LL pay $1,234.56 -- in 3 days!  Don't\r\n\r\nGo.",
    "for (int i = 0; i < 10; ++i) {\n\tx[i] += 0x1F;  // tabs\n    y = \"a\\n\";\n}\n\n\n",
    "naïve Zürich, Straße, ſ 'ſ İstanbul K, Ελληνικά, Привет мир, مرحبا ١٢٣, हिन्दी १२३, 東京、日本語 12月",
    "🙂👍🏽👩‍👩‍👧 e\u0301 \u200d\ufeff½ Ⅷ ² x²", "    four\n  two \n \u3000wide\u00a0hard\u2028line\x85next\x1c\x1d\x0b\x0c",
    "a1b22c333d4444 1 2  3   4 .5 5. 1\n2", "   1", "\n\n 12\n", " \t 9", "'s'S'T 'Re",
]  # fmt: skip
LLAMA = Regex(patterns.LLAMA3)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]


def learnt(pre, special=(), alphabet=True, text=SAMPLES, size=600) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre, decoders.ByteLevel()
    made.train_from_iterator(
        [*text] * 3,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=list(special), show_progress=False, min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
        ),
    )  # fmt: skip
    return made


def gpt2(text=SAMPLES) -> Tokenizer:
    made = learnt(pre_tokenizers.ByteLevel(add_prefix_space=False), text=text)
    made.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return made


def smollm2(text=SAMPLES) -> Tokenizer:
    """Special tokens first, digits alone, and no token for a byte that was not seen."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    pre = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    seen = [sample.replace("\x00", "").replace("🙂", "") for sample in text]
    return learnt(pre, SPECIAL, alphabet=False, text=[s for s in seen if "漢" not in s])


def llama3(text=SAMPLES) -> Tokenizer:
    """Merges as transformers makes them of ranks: every two tokens that make a third."""
    pre = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(LLAMA, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made = learnt(pre, text=text)
    tree = json.loads(made.to_str())
    vocabulary, merges = tree["model"]["vocab"], []
    for token, _ in sorted(vocabulary.items(), key=lambda pair: pair[1]):
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [(a, b) for a, b in cuts if a in vocabulary and b in vocabulary]
        merges += sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    tree["model"] |= {"merges": merges, "ignore_merges": True}
    made = Tokenizer.from_str(json.dumps(tree))
    names = ["<|begin_of_text|>", "<|end_of_text|>"]
    made.add_special_tokens([AddedToken(name, special=True) for name in names])
    return made


MAKERS = [gpt2, smollm2, llama3]


def saved(folder: Path, made: Tokenizer) -> Path:
    made.save(str(folder / "tokenizer.json"))
    return folder


def drawn(count: int) -> list[str]:
    """Texts of characters from everywhere, spaces and digits among them."""
    rng = random.Random(0)
    usual = "  \n\t'sStreEve1 2٣½.-_ab\r"
    texts = []
    for _ in range(count):
        letters = [
            rng.choice(usual) if rng.random() < 0.7 else chr(rng.choice((rng.randrange(0xD800), rng.randrange(0xE000, 0x110000))))
            for _ in range(rng.randrange(30))
        ]  # fmt: skip
        texts.append("".join(letters))
    return texts


def same(theirs: Tokenizer, ours, texts: list[str]) -> int:
    """Of each text; a special token's name is text to ours and the token to theirs. Returns how many
    were compared: all but the samples with such a name, two at most.
    """
    plain = [text for text in texts if not any(name in text for name in ours.special)]
    assert len(texts) - len(plain) <= 2
    for text in plain:
        wanted = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == wanted, repr(text)
        assert ours.encode_array(text).tolist() == wanted
    return len(plain)


@pytest.mark.parametrize("maker", MAKERS)
def test_every_text_gives_the_makers_ids(maker, tmp_path):
    theirs = maker()
    ours = hf_tokenizer.read(saved(tmp_path, theirs))
    assert ours.n_vocab == theirs.get_vocab_size()
    same(theirs, ours, SAMPLES + drawn(3000))
    for token in range(ours.n_vocab):
        if token not in ours.special.values():
            assert ours.decode([token]) == theirs.decode([token])


@pytest.mark.parametrize("maker", MAKERS)
def test_real_text_gives_the_makers_ids(maker, tmp_path, real_data):
    files = ["pretrain/tinyshakespeare.txt", "pretrain/gutenberg/2600-0.txt", "mmlu/test/abstract_algebra_test.csv"]  # fmt: skip
    texts = [
        part
        for file in [*files, "instruct/instruction-data.json", "sms_spam/SMSSpamCollection"]
        for part in (real_data / file).read_text(encoding="utf-8")[:300_000].split("\n\n")
    ]
    theirs = maker(text=[*SAMPLES, *texts[:400]])
    assert same(theirs, hf_tokenizer.read(saved(tmp_path, theirs)), texts) == len(texts)


@pytest.mark.parametrize("maker", MAKERS)
def test_what_we_write_of_it_gives_the_makers_ids_and_is_read_as_the_same(maker, tmp_path):
    theirs = maker()
    ours = hf_tokenizer.read(saved(tmp_path, theirs))
    (tmp_path / "again").mkdir()
    file = tmp_path / "again" / "tokenizer.json"
    tokenizer_json.write(ours, file)
    written, again = Tokenizer.from_file(str(file)), hf_tokenizer.read(tmp_path / "again")
    texts = SAMPLES + drawn(500)
    for text in texts:
        assert written.encode(text).ids == theirs.encode(text, add_special_tokens=False).ids
    same(theirs, again, texts)
    fields = ("ranks", "pattern", "special", "end_name")
    assert all(getattr(again, name) == getattr(ours, name) for name in fields)
    ours.save(tmp_path / "bpe")
    kept = hf_tokenizer.read(tmp_path)
    assert all(getattr(kept, name) == getattr(ours, name) for name in fields)


def test_special_tokens_have_the_makers_ids_and_no_text_encodes_to_one(tmp_path):
    ours = hf_tokenizer.read(saved(tmp_path, smollm2()))
    assert ours.special == {name: i for i, name in enumerate(SPECIAL)}
    assert (ours.end_name, ours.end_of_text) == ("<|endoftext|>", 0)
    assert not set(ours.encode("".join(SPECIAL))) & set(ours.special.values())
    assert ours.decode([1]) == "<|im_start|>"


def test_a_byte_without_a_token_is_left_out_and_its_neighbours_meet(tmp_path):
    theirs = smollm2()
    ours = hf_tokenizer.read(saved(tmp_path, theirs))
    assert 0 in ours.absent and 0xFF in ours.absent
    for text in ("the\x00me", "!\x00!", "\x00", "漢字 the", "th\x00e th"):
        assert ours.encode(text) == theirs.encode(text).ids
    assert ours.encode("\x00") == []
    assert ours.encode_bytes(b"the\xff\x00") == ours.encode("the")


def test_the_config_says_which_token_ends_a_text(tmp_path):
    folder = saved(tmp_path, llama3())
    assert hf_tokenizer.read(folder).end_name == "<|end_of_text|>"
    begin = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<|begin_of_text|>")
    for value in (begin, [begin, 3]):
        (folder / "config.json").write_text(json.dumps({"eos_token_id": value}))
        assert hf_tokenizer.read(folder).end_of_text == begin
    (folder / "config.json").write_text(json.dumps({"eos_token_id": 3}))
    with pytest.raises(UserError, match=r"no special token is id 3, which config\.json calls"):
        hf_tokenizer.read(folder)


def test_every_end_that_either_config_names_ends_a_text(tmp_path):
    folder = saved(tmp_path, smollm2())
    assert hf_tokenizer.read(folder).ends == {0}
    for config, generation, ends in (
        ({"eos_token_id": [2, 0]}, {}, {0, 2}),
        ({"eos_token_id": 2}, {"eos_token_id": [2, 0]}, {0, 2}),
        ({}, {"eos_token_id": [2, 3]}, {2, 3}),
        ({"eos_token_id": 2}, {"eos_token_id": [999_999, -1]}, {2}),  # ids of no token end nothing
    ):
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "generation_config.json").write_text(json.dumps(generation))
        made = hf_tokenizer.read(folder)
        assert (made.ends, made.end_of_text) == (ends, 2)
    for wrong in ("</s>", [2, None], 2.0, True):
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": wrong}))
        with pytest.raises(
            UserError, match=r"generation_config\.json: eos_token_id = .* must be an id"
        ):
            hf_tokenizer.read(folder)


def test_our_own_export_is_read_as_what_it_was_made_of(tmp_path):
    ours = train(SAMPLES, 300)
    tokenizer_json.write(ours, tmp_path / "tokenizer.json")
    again = hf_tokenizer.read(tmp_path)
    assert (again.ranks, again.pattern, again.special) == (ours.ranks, ours.pattern, ours.special)


def test_gpt2s_files_are_read_under_both_names(tmp_path, real_data):
    for names in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
        folder = tmp_path / names[0]
        folder.mkdir()
        for theirs, name in zip(("encoder.json", "vocab.bpe"), names, strict=True):
            (folder / name).symlink_to(real_data.resolve() / "gpt2_bpe" / theirs)
        made = hf_tokenizer.read(folder)
        assert (made.encode("Hello world"), made.end_of_text) == ([15496, 995], 50256)


def test_gpt2s_ranks_are_known_by_their_length(tmp_path, real_data):
    (tmp_path / "r50k_base.tiktoken").symlink_to(
        real_data.resolve() / "gpt2_bpe/r50k_base.tiktoken"
    )
    made = hf_tokenizer.read(tmp_path)
    assert (made.encode("Hello world"), made.n_vocab) == ([15496, 995], 50257)


def test_gpt2s_whole_vocabulary_as_a_tokenizer_json(tmp_path, real_data):
    from llmill.text.tokenization.tokenizer import from_gpt2

    known = from_gpt2(real_data / "gpt2_bpe")
    tokenizer_json.write(known, tmp_path / "tokenizer.json")
    made = hf_tokenizer.read(tmp_path)
    assert made.ranks == known.ranks
    same(Tokenizer.from_file(str(tmp_path / "tokenizer.json")), made, SAMPLES + drawn(500))


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        hf_tokenizer.read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edited(folder: Path, change) -> Path:
    tree = json.loads(gpt2().to_str())
    change(tree)
    (folder / "tokenizer.json").write_text(json.dumps(tree))
    return folder


def _swap(tree):
    merges = tree["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]


def _hole(tree):
    vocabulary = tree["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] += 5


REFUSED = [
    (lambda t: t.update(normalizer={"type": "NFC"}), "normalizer NFC is not supported"),
    (lambda t: t["model"].update(byte_fallback=True), "model.byte_fallback = True is not supported"),
    (lambda t: t["model"].update(type="Unigram"), "model.type = 'Unigram' is not supported, only 'BPE'"),
    (lambda t: t["model"].update(dropout=0.1), "model.dropout = 0.1 is not supported"),
    (lambda t: t["model"].update(end_of_word_suffix="</w>"), "model.end_of_word_suffix = '</w>'"),
    (lambda t: t.update(model={"type": "WordLevel"}), "its model has no vocab and merges"),
    (lambda t: t.update(pre_tokenizer={"type": "Metaspace"}), 'pre_tokenizer {"type": "Metaspace"} is not one'),
    (lambda t: t.update(pre_tokenizer=None), "pre_tokenizer null is not one"),
    (lambda t: t["pre_tokenizer"].update(add_prefix_space=True), "is not one that llmill knows"),
    (lambda t: t["added_tokens"][0].update(special=False), "added token '<|endoftext|>' is not special"),
    (lambda t: t["model"]["merges"].pop(3), "no merge makes b"),
    (_swap, "but has a higher id"),
    (_hole, "but none has id"),
    (lambda t: t["model"]["merges"].append(["Q", "Z"]), "a merge makes b'QZ', which is no token"),
    (lambda t: t["model"]["vocab"].update({"日": t["model"]["vocab"].pop("Ā")}), "holds '日', which stands for no byte"),
    (lambda t: t["added_tokens"][0].update(rstrip=True), "added token '<|endoftext|>' has rstrip, which is not"),
    (lambda t: t["added_tokens"].append({"content": "!", "id": t["model"]["vocab"]["!"], "special": True}), "'!' is a special token and a letter of texts"),
    (lambda t: t.update(added_tokens=[]), "no special token is <|endoftext|>"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_what_would_encode_otherwise_is_refused_by_name(tmp_path, change, line):
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    said = refusal(edited(tmp_path, change))
    assert "tokenizer.json: " in said
    assert line in said


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("added_tokens.json", {"<|user|>": 999}, "adds '<|user|>' as token 999, which tokenizer.json does not contain"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"999": {"content": "<|bot|>"}}}, "adds '<|bot|>' as token 999"),
        ("tokenizer_config.json", {"add_prefix_space": True}, "add_prefix_space is not supported"),
    ],
)  # fmt: skip
def test_what_files_beside_it_would_add_is_refused(tmp_path, file, content, line):
    edited(tmp_path, lambda tree: None)
    (tmp_path / file).write_text(json.dumps(content))
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert line in refusal(tmp_path)


def test_tokens_that_no_template_can_name_are_passed_over(tmp_path):
    edited(tmp_path, lambda tree: tree["added_tokens"][0].update(rstrip=True))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[PAD]": 999}))
    assert "[PAD]" not in hf_tokenizer.read(tmp_path).special


def test_what_files_beside_it_repeat_is_taken(tmp_path):
    edited(tmp_path, lambda tree: None)
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}")
    end = hf_tokenizer.read(tmp_path).special["<|endoftext|>"]
    decoder = {str(end): {"content": "<|endoftext|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|endoftext|>": end}))
    assert hf_tokenizer.read(tmp_path).special == {"<|endoftext|>": end}


def test_no_tokenizer_or_a_list_of_unknown_ranks_is_said(tmp_path):
    assert "no tokenizer beside the weights; it would be bpe/, tokenizer.json" in refusal(tmp_path)
    (tmp_path / "x.tiktoken").write_bytes(b"IQ== 0\n")
    assert "x.tiktoken: 1 tokens, and only GPT-2's list of 50256" in refusal(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    assert "tokenizer.json: not JSON" in refusal(tmp_path)


def test_a_vocabulary_whose_list_merges_otherwise_than_its_ids_is_refused(tmp_path):
    """By id `ab` then `abc`; the list makes `abc` of `a` and `bc`, which never meet."""
    tree = json.loads(gpt2(text=[]).to_str())
    vocabulary = tree["model"]["vocab"]
    end = vocabulary.pop("<|endoftext|>", None) or 256
    vocabulary |= {"ab": end, "bc": end + 1, "abc": end + 2}
    tree["added_tokens"][0]["id"] = end + 3
    tree["model"]["merges"] = [["a", "b"], ["b", "c"], ["a", "bc"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree))
    assert "no merge makes b'abc' of what is merged before it" in refusal(tmp_path)
    tree["model"]["merges"][2] = ["ab", "c"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree))
    assert hf_tokenizer.read(tmp_path).encode("abc") == [end + 2]
