# What happens as jobs begin. Snakemake keeps one `onstart`, the last.

import logging
import os


onstart:
    refuse_space_on_slurm()
    # For `make run`: a job says itself as it starts and ends (workflow/scripts/job.py), so Snakemake is left its
    # warnings and errors. It logs through Python's `logging`; under another name its lines would come back, and
    # nothing else.
    if os.environ.get("LLMILL_BRIEF"):
        logging.getLogger("snakemake.logging").setLevel(logging.WARNING)


def refuse_space_on_slurm():
    """The executor writes Python's path into its commands as it stands."""
    words = " ".join(sys.argv).replace("=", " ").split()
    chosen = [b for a, b in zip(words, words[1:]) if a in ("--profile", "--executor", "-e")]
    chosen.append(os.environ.get("SNAKEMAKE_PROFILE", ""))
    if " " in sys.executable and any("slurm" in name for name in chosen):
        sys.exit(
            f"llmill: {sys.executable}: on slurm, Snakemake cannot start a Python in a path with a space; "
            "move the environment, or the repository with it"
        )
