"""A job of Snakemake: calls DVC to bring one stage up to date, and writes all output to a log.

    python workflow/scripts/job.py STAGE MADE LOG

The job stores MADE next to the log for the next `snakemake` (`made` in workflow/rules/changes.smk).
If LLMILL_BRIEF is set, as by `make run`, the terminal shows the stage's own output and a line when
the stage starts and ends, instead of DVC's output.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, "src")  # also in another clone's environment

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
    """Standard output. If its reader is gone, the lines are lost, but the job continues."""

    def __init__(self, stage: str, brief: bool):
        self.stage, self.brief = stage, brief
        self.begun, self.what = time.monotonic(), "unchanged"

    def show(self, line: bytes) -> None:
        """Show a line of DVC or of the stage."""
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
        """Show the outcome of the stage."""
        took = duration(time.monotonic() - self.begun)
        if code:
            self.say(f"no result after {took}; all that was said: {log}")
        else:
            self.say(f"done in {took}" if self.what == "done" else self.what)

    def say(self, text: str) -> None:
        """Write a line of the job itself, in brief mode."""
        if self.brief:
            self.write(f"{self.stage}: {text}\n".encode())

    def write(self, line: bytes) -> None:
        """Write a whole line, unchanged."""
        try:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def environment() -> dict[str, str]:
    """Return the environment with this source first, which Snakemake's own (--sdm conda) lacks."""
    found = [str(Path("src").resolve()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found)}


def main(stage: str, made: str, log: Path) -> int:
    """Bring the stage up to date and return DVC's exit code."""
    # A signal that stops a training must not stop its log, because the training writes its last
    # lines after the signal. DVC does not inherit a handler, but it would inherit SIG_IGN.
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
    if lost and not code:  # DVC reports it, but accepts the result anyway
        code = 1
        line = LOST.format(stage).encode()
        with log.open("ab") as file:
            file.write(line)
        terminal.write(line)
    if code == 0:
        log.with_suffix(".made").write_text(f"{made}\n")
        # DVC may have restored the stage or left it unchanged after other jobs made parts of it.
        parts.remove(SCRATCH / stage)
    terminal.end(code, log)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
