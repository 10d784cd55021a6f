"""Build a model from a file's tensors: compare names, shapes and number types with the config, make
the model, and copy each tensor to its place.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from llmill.contract.errors import UserError
from llmill.model import weights
from llmill.model.architectures import Layout, turned
from llmill.model.heads import ClassModel
from llmill.model.transformer import Transformer
from llmill.model.weights import Weights

AnyModel = TypeVar("AnyModel", Transformer, ClassModel)
Names = Mapping[str, str]  # name of a tensor in the layout, and in the file


def filled(
    make: Callable[[], AnyModel],
    layout: Layout,
    stored: Weights,
    names: Names,
    unused: tuple[str, ...] = (),
) -> AnyModel:
    """Return a model with these weights, in evaluation mode. The model is made only once they are
    known to fit it.

    Tensors whose names end with one of `unused` may exist and are ignored. Raises `UserError` for
    tensors that are missing, unknown, or of another shape or number type.
    """
    _refuse_other_names(stored, layout, names, unused)
    _refuse_other_shapes(stored, layout, names, weights.meta_shapes(make))
    model = make()
    _fill(model, layout, stored, names)
    return model.eval()


def _refuse_other_names(
    stored: Weights, layout: Layout, names: Names, unused: tuple[str, ...]
) -> None:
    """Raise `UserError` for a missing or an unknown tensor."""
    expected = {part.name for parts in layout.values() for part in parts}
    for name in sorted(expected - names.keys()):
        raise UserError(f"{stored.folder}: {name}: no such tensor")
    for name in sorted(names.keys() - expected):
        if not name.endswith(unused):
            raise UserError(f"{stored.folder}: {name}: a tensor that llmill does not know")


def _refuse_other_shapes(
    stored: Weights, layout: Layout, names: Names, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise `UserError` for a tensor of another shape than the config gives, or of a number type
    that weights do not have. `shapes` are the shapes of llmill's tensors.
    """
    for target, parts in layout.items():
        for part in parts:
            name = names[part.name]
            expected = (part.rows, *shapes[target][1:])
            if part.change is turned:
                expected = expected[::-1]
            stored.refuse_other_shape(name, expected)
            stored.refuse_other_numbers(name)


def _fill(model: Transformer | ClassModel, layout: Layout, stored: Weights, names: Names) -> None:
    """Copy every tensor to its place in the model."""
    ours = model.state_dict()
    for target, parts in layout.items():
        first = 0
        for part in parts:
            into = ours[target][first : first + part.rows]
            stored.copy(names[part.name], into, part.change)
            first += part.rows
