"""Model folders that are malformed: each ends in one line that names the file and what is wrong
there, soon, and before anything of the size that it asks for is made.

All are read by one process, whose memory is limited to little more than it has after it read good
ones. What no limit or error can end, its timeout does.
"""

import json
import os
import re
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmill.model import checkpoint, gguf_out
from llmill.model.checkpoint import Checkpoint
from llmill.model.transformer import Transformer
from llmill.stages import export
from tests.conftest import ROOT
from tests.evaluation.toys import SHAPE, bytes_tokenizer, decoder, headed

ROTARY = SHAPE.model_copy(
    update={
        "norm": "rmsnorm", "position": "rotary", "mlp": "swiglu", "bias": False, "tied": False,
    }
)  # fmt: skip
DEEP = "[" * 200_000 + "]" * 200_000
SECONDS = 10  # that a folder may take
MEMORY = 256  # MiB above what good folders need
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PART = "model-1.safetensors"
TOKENIZER, OURS = "tokenizer.json", "bpe/tokenizer.json"


def gpt2(folder: Path) -> None:
    export.write(folder, Checkpoint(decoder(), bytes_tokenizer()))


def llama(folder: Path) -> None:
    torch.manual_seed(1)
    export.write(folder, Checkpoint(Transformer(ROTARY, 257), bytes_tokenizer()))


def ours(folder: Path) -> None:
    checkpoint.save(folder, Checkpoint(decoder(), bytes_tokenizer()))


def ours_rotary(folder: Path) -> None:
    checkpoint.save(folder, Checkpoint(Transformer(ROTARY, 257), bytes_tokenizer()))


def classifier(folder: Path) -> None:
    checkpoint.save(folder, Checkpoint(headed(2), bytes_tokenizer(), ["ham", "spam"], 48))


def edited(name: str, *path: str | int, **changes):
    """What puts values into a JSON file, at the end of a path inside it."""

    def change(folder: Path) -> None:
        tree = json.loads((folder / name).read_text())
        place = tree
        for step in path:
            place = place[step]
        place.update(changes)
        (folder / name).write_text(json.dumps(tree))

    return change


def config(**changes):
    return edited(CONFIG, **changes)


def written(name: str, content: str | bytes):
    content = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(content)


def replaced(name: str, make):
    """What removes a file and puts something else at its place."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return change


def linked(to: str):
    return lambda file: file.symlink_to(to)


def sparse(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(1 << 40)


def indexed(file: object):
    """What names this as the file of one tensor, and another file for the rest."""

    def change(folder: Path) -> None:
        names = dict.fromkeys(load_file(folder / WEIGHTS), PART)
        (folder / WEIGHTS).rename(folder / PART)
        names[next(iter(names))] = file
        (folder / INDEX).write_text(json.dumps({"weight_map": names}))
        save_file({"a": torch.ones(1)}, folder.parent / "outside.safetensors")

    return change


def unmapped(folder: Path) -> None:
    indexed(PART)(folder)
    (folder / INDEX).write_text('{"weight_map": ["a"]}')


def tensor(name: str, value: torch.Tensor):
    """What replaces a tensor."""

    def change(folder: Path) -> None:
        save_file(load_file(folder / WEIGHTS) | {name: value}, folder / WEIGHTS)

    return change


def header(fields: object) -> bytes:
    """A file of weights with this header."""
    text = fields if isinstance(fields, str) else json.dumps(fields)
    return struct.pack("<Q", len(text.encode())) + text.encode()


NOT_BESIDE = "no name of a .safetensors file beside it"
NESTED = "more than 64 objects and lists in one another"
WTE = "transformer.wte.weight"

FOLDERS = {
    # sizes that no memory holds, or that are none
    "a thousand million layers": (llama, config(num_hidden_layers=10**9), "n_layer = 1000000000: Input should be less than or equal to 4096"),
    "four thousand layers": (llama, config(num_hidden_layers=4000), "a model of 4,000 layers"),
    "a thousand million layers, gpt2": (gpt2, config(n_layer=10**9), "n_layer = 1000000000: Input should be less than or equal to 4096"),
    "four thousand layers, gpt2": (gpt2, config(n_layer=4000), "a model of 4,000 layers"),
    "a vocabulary of 10^12": (llama, config(vocab_size=10**12), "the embedding has 1000000000000 rows"),
    "rows of 10^9": (llama, config(intermediate_size=10**9), "mlp_hidden = 1000000000: Input should be less than or equal to 1048576"),
    "rows of 10^6": (llama, config(intermediate_size=10**6), "64,005,136 numbers or more, but the weights are 21 tensors"),
    "a width of 2^40": (llama, config(hidden_size=2**40, head_dim=None), "n_embd = 1099511627776: Input should be less than or equal to 131072"),
    "a width of 2^16": (llama, config(hidden_size=2**16, head_dim=None), "numbers or more, but the weights are"),
    "learned positions without end": (gpt2, config(n_positions=10**9), "block_size = 1000000000: Input should be less than or equal to 16777216"),
    "ten million learned positions": (gpt2, config(n_positions=10**7), "160,007,184 numbers or more"),
    "rotary positions without end": (llama, config(max_position_embeddings=10**9), "block_size = 1000000000: Input should be less than or equal to 16777216"),
    "ten million rotary positions": (llama, config(max_position_embeddings=10**7), "10,000,000 positions, whose angles take 320,000,000 bytes"),
    "many small layers": (llama, config(num_hidden_layers=9), "a model of 9 layers"),
    "a layer more": (gpt2, config(n_layer=3), r"transformer\.h\.2\..*: no such tensor"),
    "no layers": (gpt2, config(n_layer=0), "n_layer = 0: must be a whole number from 1"),
    "less than no layers": (gpt2, config(n_layer=-2), "n_layer = -2: must be a whole number from 1"),
    "no heads": (llama, config(num_attention_heads=0), "num_attention_heads = 0: must be a whole number"),
    # types
    "layers in words": (llama, config(num_hidden_layers="2"), "num_hidden_layers = '2': must be a whole number"),
    "layers with a point": (gpt2, config(n_layer=2.0), r"n_layer = 2\.0: must be a whole number"),
    "layers in a list": (gpt2, config(n_embd=[16]), r"n_embd = \[16\]: must be a whole number"),
    "heads null": (gpt2, config(n_head=None), "n_head = None: must be a whole number"),
    "a vocabulary of true": (gpt2, config(vocab_size=True), "vocab_size = True: must be a whole number"),
    "a number of 400 digits": (llama, config(rms_norm_eps=10**400), r"rms_norm_eps = 1000.* \.\.\.: must be a number"),
    "no number": (gpt2, config(layer_norm_epsilon=float("nan")), "layer_norm_epsilon = nan: must be a number"),
    "an endless number": (llama, config(rope_parameters={"rope_theta": float("inf")}), "rope_theta = inf: must be a number"),
    "rotary settings in a list": (llama, config(rope_parameters=["default"]), r"rope_parameters = \['default'\]: must be an object"),
    "tied or not in words": (gpt2, config(tie_word_embeddings="no"), "tie_word_embeddings = 'no': must be true or false"),
    "dropout in words": (gpt2, config(resid_pdrop="much"), "resid_pdrop = 'much': must be a number"),
    "a type in a list": (gpt2, config(model_type=["gpt2"]), r"model_type = \['gpt2'\]: not an architecture"),
    "architectures of numbers": (gpt2, config(architectures=[5]), "architectures must be names in a list"),
    "an unknown option, a million letters long": (gpt2, config(more="x" * 10**6), r"more = 'xxxx.* \.\.\.: llmill does not know this option"),
    # a config that is none
    "nested 200,000 deep": (gpt2, written(CONFIG, f'{{"model_type": {DEEP}}}'), NESTED),
    "nested 65 deep": (gpt2, config(task_specific_params=json.loads("[" * 65 + "]" * 65)), NESTED),
    "a config in Latin-1": (gpt2, written(CONFIG, b'{"a": "\xe9"}'), "not JSON .*can't decode"),
    "a config of a terabyte": (gpt2, replaced(CONFIG, sparse), "1,099,511,627,776 bytes; such a file"),
    "a config without end": (gpt2, replaced(CONFIG, linked("/dev/zero")), "config.json: not a file"),
    "a config that nobody writes": (gpt2, replaced(CONFIG, os.mkfifo), "config.json: not a file"),
    "a folder for a config": (gpt2, replaced(CONFIG, Path.mkdir), "config.json: not a file"),
    # names in the index
    "a file outside": (gpt2, indexed("../outside.safetensors"), rf"'\.\./outside\.safetensors' is {NOT_BESIDE}"),
    "a file far outside": (gpt2, indexed("../../../outside.safetensors"), NOT_BESIDE),
    "a path from the root": (gpt2, indexed("/etc/passwd"), f"'/etc/passwd' is {NOT_BESIDE}"),
    "a file in a folder": (gpt2, indexed("bpe/model.safetensors"), NOT_BESIDE),
    "a number for a file": (gpt2, indexed(7), f"7 is {NOT_BESIDE}"),
    "a list for a file": (gpt2, indexed([WEIGHTS]), NOT_BESIDE),
    "a pickle in the index": (gpt2, indexed("model.bin"), NOT_BESIDE),
    "a name with a NUL": (gpt2, indexed("a\0.safetensors"), NOT_BESIDE),
    "a name too long": (gpt2, indexed("x" * 300 + ".safetensors"), NOT_BESIDE),
    "an index without a map": (gpt2, unmapped, "weight_map is missing"),
    # weights
    "a header of 2^60 bytes": (gpt2, written(WEIGHTS, struct.pack("<Q", 1 << 60) + b"{}"), "cut short or damaged"),
    "a header nested deep": (gpt2, written(WEIGHTS, header(DEEP)), "cut short or damaged"),
    "a tensor beyond its file": (gpt2, written(WEIGHTS, header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})), "cut short or damaged"),
    "a tensor of no rows": (gpt2, written(WEIGHTS, header({WTE: {"dtype": "F32", "shape": [2**40, 0], "data_offsets": [0, 0]}})), "the weights are 1 tensors"),
    "no bytes": (gpt2, written(WEIGHTS, b""), "cut short or damaged"),
    "a folder for weights": (gpt2, replaced(WEIGHTS, Path.mkdir), "model.safetensors: not a file"),
    "weights without end": (ours, replaced(WEIGHTS, linked("/dev/zero")), "model.safetensors: not a file"),
    "a tensor turned": (gpt2, tensor(WTE, torch.ones(16, 257)), r"wte\.weight: the file has \(16, 257\), the config says \(257, 16\)"),
    "packed numbers": (gpt2, tensor(WTE, torch.ones(257, 16, dtype=torch.int8)), "wte.weight: numbers of type I8; llmill reads F64, F32"),
    "small numbers": (gpt2, tensor(WTE, torch.ones(257, 16).to(torch.float8_e4m3fn)), "wte.weight: numbers of type F8_E4M3"),
    # tokenizers and templates
    "a vocabulary in a list": (gpt2, edited(TOKENIZER, "model", vocab=["a"]), "tokenizer.json: model.vocab: Input should be a valid dict"),
    "ids in words": (gpt2, edited(TOKENIZER, "model", vocab={"a": "0"}), "model.vocab.a = '0': Input should be a valid integer"),
    "merges of numbers": (gpt2, edited(TOKENIZER, "model", merges=[5, [6, 7]]), r"model\.merges\.0.* = 5: Input should be"),
    "added tokens by name": (gpt2, edited(TOKENIZER, added_tokens={"a": 1}), "added_tokens: Input should be a valid list"),
    "half a character": (gpt2, edited(TOKENIZER, "added_tokens", 0, content="\ud800"), "tokenizer.json: "),
    "a normalizer in a list": (gpt2, edited(TOKENIZER, normalizer=[1]), "normalizer: Input should be a valid dictionary"),
    "parts in a number": (gpt2, edited(TOKENIZER, pre_tokenizer={"type": "Sequence", "pretokenizers": 5}), "pre_tokenizer .* is not one that llmill knows"),
    "a tokenizer nested deep": (gpt2, written(TOKENIZER, f'{{"model": {DEEP}}}'), NESTED),
    "a template in Latin-1": (gpt2, written("chat_template.jinja", b"\xe9"), "chat_template.jinja: not UTF-8 at byte 0"),
    # ours
    "ours of a thousand million layers": (ours, edited(CONFIG, "model", n_layer=10**9), "model.n_layer = 1000000000: .*; `dvc checkout` restores"),
    "ours of four thousand layers": (ours, edited(CONFIG, "model", n_layer=4000), "a model of 4,000 layers .*; `dvc checkout` restores"),
    "ours, a width in words": (ours, edited(CONFIG, "model", n_embd="16"), r"model\.n_embd = '16': Input should be a valid integer"),
    "ours, a vocabulary in words": (ours, config(vocab_size="257"), "vocab_size = '257': Input should be a valid integer"),
    "ours, a head in a list": (ours, config(head=["class"]), "not a model's shape .head: Input should be 'next_token', 'class'"),
    "ours, nested deep": (ours, written(CONFIG, f'{{"model": {DEEP}}}'), NESTED),
    "ours, positions without end": (ours_rotary, edited(CONFIG, "model", block_size=10**9), "model.block_size = 1000000000: Input should be less than or equal to 16777216"),
    "ours, ten million positions": (ours_rotary, edited(CONFIG, "model", block_size=10**7), "whose angles take 320,000,000 bytes"),
    "ours, an old length without end": (ours_rotary, edited(CONFIG, "model", rotary_scaling={"factor": 2.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_block_size": 2**70}), "original_block_size = 1180591620717411303424: Input should be less than or equal to 16777216"),
    "ours, packed numbers": (ours, tensor("norm.weight", torch.ones(16, dtype=torch.int8)), "norm.weight: numbers of type I8"),
    "ours, 10^12 tokens": (ours, edited(OURS, n_vocab=10**12), "256 tokens do not fit tokenizer.json beside it"),
    "ours, ids in a list": (ours, edited(OURS, special=[256]), "special: Input should be a valid dictionary"),
    "ours, a pattern that is none": (ours, edited(OURS, pattern="("), r"bpe/tokenizer\.json: not usable \(missing \)"),
    "ours, a pattern that cuts nothing": (ours, edited(OURS, pattern="a*"), "not usable .the pattern cuts out nothing"),
    "ours, ranks that nobody writes": (ours, replaced("bpe/ranks.tiktoken", os.mkfifo), "ranks.tiktoken: not a file"),
    "a classifier without labels": (classifier, config(labels=None), "a classifier needs labels and max_length"),
    "a classifier with another number of labels": (classifier, config(labels=["a", "b", "c"]), r"head\.weight: the file has \(2, 16\), the model \(3, 16\)"),
    "a classifier of numbers": (classifier, config(labels=[1, 2]), r"labels\.0 = 1: Input should be a valid string"),
}  # fmt: skip

ONE_FILE = "model.gguf"


def packed(folder: Path) -> None:
    """The same Llama in one GGUF file."""
    torch.manual_seed(1)
    said = gguf_out.Said("x", None, True)
    folder.mkdir()
    model = Transformer(ROTARY, 257)
    gguf_out.save(folder / ONE_FILE, model, bytes_tokenizer(), said, "float16")


def said_otherwise(key: str, value: int):
    """What puts another number behind a key of the metadata."""

    def change(folder: Path) -> None:
        content = bytearray((folder / ONE_FILE).read_bytes())
        place = content.index(key.encode()) + len(key) + 4  # behind its kind
        content[place : place + 4] = struct.pack("<I", value)
        (folder / ONE_FILE).write_bytes(content)

    return change


ENDLESS = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q4sIIQ", 4, b"list", 9, 0, 2**60)
MANY = struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 2**60)
if find_spec("gguf"):
    FOLDERS |= {
        "gguf, layers without end": (packed, said_otherwise("llama.block_count", 2**31), "n_layer = 2147483648: Input should be less than"),
        "gguf, four thousand layers": (packed, said_otherwise("llama.block_count", 4000), "a model of 4,000 layers"),
        "gguf, positions without end": (packed, said_otherwise("llama.context_length", 2**31), "block_size = 2147483648: Input should be less"),
        "gguf, ten million positions": (packed, said_otherwise("llama.context_length", 10**7), "whose angles take 320,000,000 bytes"),
        "gguf, no heads": (packed, said_otherwise("llama.attention.head_count", 0), "attention.head_count = 0: must be a whole number from 1"),
        "gguf, a list without end": (packed, written(ONE_FILE, ENDLESS), "a damaged one .a list of 1,152,921,504,606,846,976 values"),
        "gguf, tensors without end": (packed, written(ONE_FILE, MANY), "a damaged one .cut short: byte"),
        "gguf, an empty file": (packed, written(ONE_FILE, b""), "no GGUF file, or a damaged one"),
        "gguf, a file of a terabyte": (packed, replaced(ONE_FILE, sparse), "no GGUF file, or a damaged one"),
        "gguf, a pipe": (packed, replaced(ONE_FILE, os.mkfifo), "model.gguf: not a file"),
        "gguf, two files": (packed, written("b.gguf", b""), "several models .b.gguf, model.gguf.; name the file"),
    }  # fmt: skip

READS = f"""
import json, re, resource, sys, time, traceback
from pathlib import Path
from llmill import chat, models
from llmill.contract.errors import UserError

def memory(what):
    return int(re.search(rf"{{what}}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def read(folder):
    if "classifier" in folder:
        return chat.guess(folder, ["a"])
    return list(chat.open_talk(folder, chat.Settings(max_new_tokens=2)).answer("a"))

good, bad = sys.argv[1].split(), sys.argv[2:]
for folder in good:
    read(folder)
if sys.platform == "linux":
    limit = memory("VmSize") + {MEMORY} * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for folder in bad:
    start = time.monotonic()
    try:
        said = repr(read(folder))
    except UserError as error:
        said = f"llmill: {{error}}"
    except BaseException:
        said = traceback.format_exc()
    print(json.dumps([said, time.monotonic() - start]), flush=True)
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> dict[str, tuple[str, float]]:
    """What is said of each folder, and after how many seconds."""
    root = tmp_path_factory.mktemp("folders")
    makers = dict.fromkeys(made for made, _, _ in FOLDERS.values())
    good = [root / made.__name__ for made in makers]
    for folder, made in zip(good, makers, strict=True):
        made(folder)
    bad = {}
    for number, (name, (made, change, _)) in enumerate(FOLDERS.items()):
        bad[name] = root / f"{made.__name__}{number}"
        made(bad[name])
        change(bad[name])
    done = subprocess.run(
        [sys.executable, "-c", READS, " ".join(map(str, good)), *map(str, bad.values())],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=SECONDS * (len(bad) + 6),
        check=True,
    )
    return dict(zip(bad, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_malformed_folder_is_one_line_and_asks_for_no_memory(name, lines):
    said, seconds = lines[name]
    assert said.startswith("llmill: "), said
    assert "\n" not in said
    assert len(said) < 1000
    assert seconds < SECONDS
    assert re.search(FOLDERS[name][2], said)


def test_links_as_caches_have_them_are_followed(tmp_path):
    """Hugging Face's cache is made of links into `blobs`, DVC's may be of links into its own."""
    from llmill.chat import Settings, open_talk

    gpt2(tmp_path / "blobs")
    folder = tmp_path / "snapshots/main"
    folder.mkdir(parents=True)
    for file in (tmp_path / "blobs").iterdir():
        (folder / file.name).symlink_to(f"../../blobs/{file.name}")
    indexed("model-00001-of-00001.safetensors")(folder)
    (folder / "model-00001-of-00001.safetensors").symlink_to("../../blobs/model.safetensors")
    settings = Settings(max_new_tokens=4)
    wanted = list(open_talk(str(tmp_path / "blobs"), settings).answer("a"))
    assert list(open_talk(str(folder), settings).answer("a")) == wanted
