"""Write an adapter as peft loads it, on a model of transformers: `adapter_config.json` and
`adapter_model.safetensors`.

Each of llmill's targets is a layer of transformers, with the name that `architectures.py` has for
its rows.
"""

from pathlib import Path

from safetensors import torch as safetensors
from torch import Tensor

from llmill.contract import record
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.values import Dtype
from llmill.model import lora
from llmill.model.architectures import Architecture, TensorRows
from llmill.model.settings import Model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BEFORE = "base_model.model."  # prefix of peft's wrappers
TENSORS = {"a": "lora_A.weight", "b": "lora_B.weight", "magnitude": "lora_magnitude_vector"}


def lacking(architecture: Architecture, config: Model) -> str | None:
    """Return why peft cannot load the adapters of a shape, or None if it can: transformers must
    store each of llmill's targets in a layer of its own.
    """
    if _layers(architecture, config) is None:
        return f"{architecture.model_type} holds query, key and value in one layer"
    return None


def save(
    folder: Path,
    stored: lora.StoredAdapter,
    config: Model,
    architecture: Architecture,
    base: str,
    dtype: Dtype = "float32",
) -> None:
    """Write an adapter of a language model. `base` is where peft finds its exported foundation."""
    layers = _layers(architecture, config)
    assert layers is not None, "asked before"
    settings = stored.settings
    tensors: dict[str, Tensor] = {}
    modules: set[str] = set()
    for name, tensor in stored.tensors.items():
        target, kind = name.rsplit(".", 1)
        theirs = layers[target]
        changed = theirs.change(tensor) if theirs.change and kind != "a" else tensor
        module = theirs.name.removesuffix(".weight")
        tensors[f"{BEFORE}{module}.{TENSORS[kind]}"] = changed.to(NUMBER_TYPES[dtype]).contiguous()
        modules.add(module.rpartition(".")[2])
    config_json = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "use_rslora": settings.rank_stabilised,
        "use_dora": settings.dora,
        "lora_dropout": settings.dropout,
        "target_modules": sorted(modules),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    folder.mkdir(parents=True)
    record.write_json(folder / CONFIG, config_json)
    record.write_bytes(folder / WEIGHTS, safetensors.save(tensors, {"format": "pt"}))


def _layers(architecture: Architecture, config: Model) -> dict[str, TensorRows] | None:
    """Return the layer of transformers for each adapter, or None if one layer holds several."""
    layout = architecture.layout(config, 1)
    layers: dict[str, TensorRows] = {}
    for i in range(config.n_layer):
        for name, rows in lora.targets(config).items():
            parts = layout[f"blocks.{i}.{name}.weight"]
            if len(parts) != len(rows):
                return None
            for target, part in zip(rows, parts, strict=True):
                layers[f"blocks.{i}.{name}.{lora.ADAPTERS}.{target}"] = part
    return layers
