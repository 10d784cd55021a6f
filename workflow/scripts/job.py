"""A job of Snakemake: asks DVC to bring one stage up to date, and keeps what is said in a log.

    python workflow/scripts/job.py STAGE MADE LOG

MADE is kept beside the log for the next `snakemake` (`made` in workflow/rules/changes.smk). With
LLMILL_BRIEF set, as `make run` does, the terminal gets what the stage itself says and a line as it
starts and as it ends, in place of what DVC says.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, "src")  # in a borrowed environment, too

from llmill.contract import parts  # after the path
from llmill.contract.printable import duration
from llmill.contract.record import SCRATCH

NOT_KEPT = b"ERROR: failed to transfer"
LOST = (
    "llmill: DVC's cache did not take the result; mend it, then `dvc repro -f --single-item {}`\n"
)
RUNS = re.compile(r"Running stage '.*':$")
RESTORED = re.compile(r"Stage '.*' is cached - skipping run, checking out outputs$")
NOISE = re.compile(
    r"$|> |Stage '.*' didn't change, skipping$|(Generating|Updating) lock file 'dvc\.lock'$"
    r"|Data and pipelines are up to date\.$|Use `dvc push` to send your updates"
    r"|To track the changes with git, run:$|\tgit add |To enable auto staging, run:$"
    r"|\tdvc config core\.autostage true$|WARNING: '.*' is empty\.$"
)


class Terminal:
    """Standard output. A reader that is gone costs the lines, not the job."""

    def __init__(self, stage: str, brief: bool):
        self.stage, self.brief = stage, brief
        self.begun, self.what = time.monotonic(), "unchanged"

    def show(self, line: bytes) -> None:
        """A line of DVC's or of the stage's."""
        text = line.decode(errors="replace").rstrip("\n")
        if RUNS.match(text):
            self.begun, self.what = time.monotonic(), "done"
            self.say("starts")
        elif RESTORED.match(text):
            self.what = "restored from DVC's cache"
        elif self.brief and not NOISE.match(text):
            self.write(line)
        if not self.brief:
            self.write(line)

    def end(self, code: int, log: Path) -> None:
        """What became of the stage."""
        took = duration(time.monotonic() - self.begun)
        if code:
            self.say(f"no result after {took}; all that was said: {log}")
        else:
            self.say(f"done in {took}" if self.what == "done" else self.what)

    def say(self, text: str) -> None:
        """A line of our own."""
        if self.brief:
            self.write(f"{self.stage}: {text}\n".encode())

    def write(self, line: bytes) -> None:
        """Whole lines, as they are."""
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def environment() -> dict[str, str]:
    """With this source first: an environment of Snakemake's own (--sdm conda) lacks it."""
    found = [str(Path("src").resolve()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found)}


def main(stage: str, made: str, log: Path) -> int:
    """Bring the stage up to date; DVC's exit code."""
    # What stops a training must not stop its log: its last lines come after the signal. A handler,
    # unlike SIG_IGN, is not inherited by DVC.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, lambda *_: None)
    terminal = Terminal(stage, brief=bool(os.environ.get("LLMILL_BRIEF")))
    words = ["dvc", "--wait-for-lock", "repro", "--single-item", stage]
    with (
        log.open("wb", buffering=0) as file,
        subprocess.Popen(
            words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        lost = False
        for line in process.stdout:
            file.write(line)
            terminal.show(line)
            lost |= line.startswith(NOT_KEPT)
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    if lost and not code:  # DVC says so, and takes the result all the same
        code = 1
        line = LOST.format(stage).encode()
        with log.open("ab") as file:
            file.write(line)
        terminal.write(line)
    if code == 0:
        log.with_suffix(".made").write_text(f"{made}\n")
        # DVC may have restored the stage, or left it as it was, after other jobs made parts of it.
        parts.remove(SCRATCH / stage)
    terminal.end(code, log)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
