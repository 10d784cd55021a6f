"""Remove near duplicates of the parquet files in a folder with datatrove, in a single process.

python benchmarks/datatrove_minhash.py FOLDER OUT    # called by preparing.py, with datatrove

This is datatrove's published example with its defaults, except for llmill's word shingles of five
and a similarity near 0.8: 14 buckets of 8 hashes. It prints peak MiB, CPU seconds and the number of
documents kept as JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers.parquet import ParquetWriter


def main(folder: str, out: Path) -> None:
    """Run the four steps, each as a pipeline with one worker."""
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    signatures, buckets, removed = (str(out / name) for name in ("signatures", "buckets", "ids"))
    steps = [
        [ParquetReader(folder), MinhashDedupSignature(signatures, config)],
        [MinhashDedupBuckets(signatures, buckets, config=config)],
        [MinhashDedupCluster(buckets, removed, config=config)],
        [ParquetReader(folder), MinhashDedupFilter(removed), ParquetWriter(str(out / "text"))],
    ]
    tasks = [1, config.num_buckets, 1, 1]
    before, kept = time.process_time(), 0
    for number, (step, n) in enumerate(zip(steps, tasks, strict=True)):
        logs = str(out / f"logs{number}")
        stats = LocalPipelineExecutor(step, tasks=n, workers=1, logging_dir=logs).run()
    kept = sum(each.stats["total"].total for each in stats.stats if "WRITER" in each.name)
    own = resource.getrusage(resource.RUSAGE_SELF)
    took = time.process_time() - before
    print(json.dumps({"MiB": own.ru_maxrss / 1024, "s": took, "kept": kept}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
