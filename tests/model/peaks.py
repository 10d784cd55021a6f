"""How much memory loading takes, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")

LOADS = """
import re, sys
from pathlib import Path
from llmill.model import checkpoint, huggingface
for folder in sys.argv[2:]:
    {"checkpoint": checkpoint, "huggingface": huggingface}[sys.argv[1]].load(Path(folder))
    status = Path("/proc/self/status").read_text()
    print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]))
"""


def peaks(module: str, *folders: Path) -> list[int]:
    """The peak in bytes after each of the folders was loaded, in this order."""
    words = [sys.executable, "-c", LOADS, module, *map(str, folders)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]
