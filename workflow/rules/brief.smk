# For `make run`: a job says itself as it starts and ends (workflow/scripts/job.py), so Snakemake is left its warnings and
# errors. It logs through Python's `logging`; under another name its lines would come back, and nothing else.

import logging
import os


onstart:
    if os.environ.get("LLMILL_BRIEF"):
        logging.getLogger("snakemake.logging").setLevel(logging.WARNING)
