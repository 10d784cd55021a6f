"""An adapter as peft loads it: `adapter_config.json` and `adapter_model.safetensors`, on a model of
transformers.

Each of our targets is one of their layers, under the name that `architectures.py` has for its rows.
"""

from pathlib import Path

from safetensors import torch as safetensors
from torch import Tensor

from llmill.contract import record
from llmill.contract.runtime import NUMBER_TYPES
from llmill.contract.values import Dtype
from llmill.model import lora
from llmill.model.architectures import Architecture, Rows
from llmill.model.settings import Model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BEFORE = "base_model.model."  # peft's wrappers
TENSORS = {"a": "lora_A.weight", "b": "lora_B.weight", "magnitude": "lora_magnitude_vector"}


def lacking(architecture: Architecture, config: Model) -> str | None:
    """Why the adapters of a shape have no such form, if so: theirs must hold our targets apart."""
    if _layers(architecture, config) is None:
        return f"{architecture.model_type} holds query, key and value in one layer"
    return None


def save(
    folder: Path,
    stored: lora.Stored,
    config: Model,
    architecture: Architecture,
    base: str,
    dtype: Dtype = "float32",
) -> None:
    """Write an adapter of a language model; `base` is where peft finds its foundation, exported."""
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


def _layers(architecture: Architecture, config: Model) -> dict[str, Rows] | None:
    """The layer of theirs of each of our adapters; None where they hold several in one."""
    layout = architecture.layout(config, 1)
    layers: dict[str, Rows] = {}
    for i in range(config.n_layer):
        for name, rows in lora.targets(config).items():
            parts = layout[f"blocks.{i}.{name}.weight"]
            if len(parts) != len(rows):
                return None
            for target, part in zip(rows, parts, strict=True):
                layers[f"blocks.{i}.{name}.{lora.ADAPTERS}.{target}"] = part
    return layers
