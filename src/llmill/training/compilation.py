"""torch.compile, and where it cannot work on a CPU: it hands its C++ compiler some folders
unquoted.

These are torch's and Python's libraries, its cache, and the folder of temporary files.
"""

import os
import re
import shutil
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llmill.contract.errors import UserError

CACHE = "TORCHINDUCTOR_CACHE_DIR"  # else below the folder of temporary files
SPLITS = re.compile(r"[\s'\"\\]")  # where the command's words are told apart


def libraries() -> list[str]:
    """Folders of the libraries that compiled code is linked with."""
    python = sysconfig.get_config_var("LIBDIR")
    return [str(Path(torch.__file__).parent / "lib"), *filter(None, [python])]


def unusable() -> str | None:
    """The first folder whose path the compiler would not get in one piece."""
    folders = [*libraries(), os.environ.get(CACHE, ""), tempfile.gettempdir()]
    return next((folder for folder in folders if SPLITS.search(folder)), None)


def check(device: torch.device) -> None:
    """Refuse to compile for a CPU where it would end in the compiler's own errors."""
    if device.type != "cpu":
        return
    if folder := unusable():
        raise UserError(
            f"params.yaml: pretrain.compile: torch.compile cannot use {folder}, whose path has a "
            f"space or a quote; set it to false, or move the environment, TMPDIR or {CACHE}"
        )
    compilers = (os.environ.get("CXX", "").partition(" ")[0], "g++", "clang++")
    if not any(map(shutil.which, compilers)):
        raise UserError(
            "params.yaml: pretrain.compile: torch.compile needs a C++ compiler; install g++ or "
            "clang++, name one in CXX, or set it to false"
        )


def compiled(model: nn.Module) -> Callable[..., Any]:
    """The model as torch compiles it, to deterministic algorithms."""
    torch.use_deterministic_algorithms(True)
    return torch.compile(model)
