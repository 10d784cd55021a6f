"""The class head in folders of Hugging Face's transformers: its labels in `config.json` and its
tensor in llmill's model.

transformers' `...ForSequenceClassification` is a decoder with a matrix `score` without bias.
"""

from collections.abc import Sequence
from typing import Any

from llmill.contract.elsewhere import quoted
from llmill.contract.errors import UserError
from llmill.model.architectures import Architecture, Layout, TensorRows
from llmill.model.options import Config, Options


def write(labels: Sequence[str]) -> Config:
    """Return the options of a config that describe a classifier's head."""
    return {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


def read(options: Options, architecture: Architecture) -> list[str]:
    """Read the labels of a classifier, in the order of the head's rows. Raises `UserError` for a
    folder that does not hold a classifier, or holds one of another kind.
    """
    if architecture.classifier is None:
        raise UserError(
            f"{options.file}: model_type = {architecture.model_type!r}: transformers has no "
            "classifier of it"
        )
    options.only("architectures", [architecture.classifier])
    options.only("problem_type", "single_label_classification", None)
    labels = options.take("id2label")
    if not _whole(labels):
        raise UserError(
            f"{options.file}: id2label = {quoted(labels)}: it must give two or more classes, "
            "numbered from '0', a different name each"
        )
    return [labels[str(i)] for i in range(len(labels))]


def layout(decoder: Layout, n_class: int) -> Layout:
    """Return the layout of a `ClassModel` on a decoder of this layout, without its `lm_head`."""
    body = {f"body.{name}": parts for name, parts in decoder.items() if name != "head.weight"}
    return body | {"head.weight": [TensorRows("score.weight", n_class)]}


def _whole(labels: Any) -> bool:
    if not isinstance(labels, dict):
        return False
    names = list(labels.values())
    return (
        len(names) > 1
        and labels.keys() == {str(i) for i in range(len(names))}
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
    )
