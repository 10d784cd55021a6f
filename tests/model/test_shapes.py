"""The table of published models: each has the number of parameters that was published."""

import pytest
import torch
import yaml

from llmill.contract.errors import UserError
from llmill.model.settings import Model
from llmill.model.shapes import SHAPES
from llmill.model.transformer import Transformer
from llmill.runner import params
from tests.conftest import preset_values

PUBLISHED = {  # vocabulary, parameters
    "gpt2-124m": (50257, 124_439_808),
    "gpt2-355m": (50257, 354_823_168),
    "gpt2-774m": (50257, 774_030_080),
    "gpt2-1.5b": (50257, 1_557_611_200),
    "llama-2-7b": (32000, 6_738_415_616),
    "llama-3-8b": (128256, 8_030_261_248),
    "llama-3.2-1b": (128256, 1_235_814_400),
    "smollm2-135m": (49152, 134_515_008),
    "smollm2-360m": (49152, 361_821_120),
    "tinyllama-1.1b": (32000, 1_100_048_384),
    # Without the pooler, as published, less the two token types that ours has not (2 * 768), and
    # with the norm at the end (2 * 768), which a block that normalises first needs and BERT has not.
    # The table of 30,522 includes [MASK]. BERT's head for masked tokens, 768 * 768 + 3 * 768 +
    # 30,522 more, is not in the published number; ours is the table alone.
    "bert-base": (30522, 108_891_648 - 2 * 768 + 2 * 768),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_named_shape_has_the_published_number_of_parameters(name):
    vocab, wanted = PUBLISHED[name]
    with torch.device("meta"):
        model = Transformer(Model(**SHAPES[name]), vocab)
    assert sum(p.numel() for p in model.parameters()) == wanted


def test_params_name_a_shape_and_change_it(tmp_path):
    assert written(tmp_path, {"shape": "smollm2-135m", "dropout": 0.1}) == Model(
        **SHAPES["smollm2-135m"] | {"dropout": 0.1}
    )


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"shape": "gpt3"}, "model: no shape 'gpt3'; one of gpt2-124m, gpt2-355m"),
        ({"shape": "gpt2-124m", "n_haed": 6}, "unknown parameter 'model.n_haed'; did you mean 'n_head'"),
        ({"shape": "gpt2-124m", "n_head": 7}, "model: n_embd 768 is not divisible by n_head 7"),
    ],
)  # fmt: skip
def test_a_shape_that_does_not_exist_or_fit_is_said_in_one_line(tmp_path, model, reason):
    with pytest.raises(UserError, match=reason):
        written(tmp_path, model)


def written(folder, model: dict) -> Model:
    tree = preset_values("smoke")
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(tree | {"model": model}))
    return params.load(file).model
