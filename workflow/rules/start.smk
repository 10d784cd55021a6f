# What to do before the first job. Snakemake keeps only one `onstart`, the last one.

import logging
import os


onstart:
    refuse_space_on_slurm()
    # For `make run`: each job prints its own start and end (workflow/scripts/job.py), so Snakemake prints only its
    # warnings and errors. It logs through Python's `logging`. If the logger gets another name, Snakemake's lines are
    # printed again, and nothing else changes.
    if os.environ.get("LLMILL_BRIEF"):
        logging.getLogger("snakemake.logging").setLevel(logging.WARNING)


def refuse_space_on_slurm():
    """Exit if Python's path has a space, because the slurm executor writes the path unquoted into its commands."""
    words = " ".join(sys.argv).replace("=", " ").split()
    chosen = [b for a, b in zip(words, words[1:]) if a in ("--profile", "--executor", "-e")]
    chosen.append(os.environ.get("SNAKEMAKE_PROFILE", ""))
    if " " in sys.executable and any("slurm" in name for name in chosen):
        sys.exit(
            f"llmill: {sys.executable}: on slurm, Snakemake cannot start a Python in a path with a space; "
            "move the environment, or the repository with it"
        )
