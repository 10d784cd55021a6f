"""torch.compile, and a check of whether it can work on a CPU: it passes the paths of some folders
to its C++ compiler without quotes.

These are the folders of torch's and Python's libraries, its cache, and the temporary folder.
"""

import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llmill.contract.errors import UserError

CACHE = "TORCHINDUCTOR_CACHE_DIR"  # by default, the cache is in the temporary folder
SPLITS = re.compile(r"[\s'\"\\]")  # characters that split a path into several words


def libraries() -> list[str]:
    """Return the folders of the libraries that compiled code is linked with."""
    python = sysconfig.get_config_var("LIBDIR")
    return [str(Path(torch.__file__).parent / "lib"), *filter(None, [python])]


def unusable() -> str | None:
    """Return the first folder whose path the compiler would not get in one piece, or None."""
    folders = [*libraries(), os.environ.get(CACHE, ""), tempfile.gettempdir()]
    return next((folder for folder in folders if SPLITS.search(folder)), None)


def check(device: torch.device) -> None:
    """Raise `UserError` if compiling for this device would end in the compiler's own errors."""
    if device.type != "cpu":
        return
    if folder := unusable():
        raise UserError(
            f"params.yaml: pretrain.compile: torch.compile cannot use {folder}, whose path has a "
            f"space or a quote; set it to false, or move the environment, TMPDIR or {CACHE}"
        )
    # torch takes the one program that CXX names, or the system's own.
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if not shutil.which(compiler):
        raise UserError(
            f"params.yaml: pretrain.compile: torch.compile needs a C++ compiler, and there is no "
            f"{compiler}; install it, name another in CXX, or set compile to false"
        )


def compiled(model: nn.Module) -> Callable[..., Any]:
    """Return the model compiled by torch, with deterministic algorithms.

    Each length of rows is compiled by itself: code for any length would depend on the lengths that
    this process saw before, and so on where a training was resumed.
    """
    torch.use_deterministic_algorithms(True)
    return torch.compile(model, dynamic=False)
