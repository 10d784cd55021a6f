"""Documents in parquet shards: the same documents give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from llmill.contract.errors import UserError

if TYPE_CHECKING:  # reading shards does not depend on how documents are read
    from llmill.text.corpus.documents import Document

SCHEMA = pa.schema([("text", pa.string()), ("source", pa.string()), ("id", pa.string())])
BATCH = 1024  # documents held in memory at a time: a row group
RESTORE = "`dvc checkout` restores it, or run stage prepare again"


def write(folder: Path, documents: Sequence[Document], shard_documents: int) -> None:
    """Write `00000.parquet` and so on, with at most `shard_documents` documents each. Memory holds
    one row group.
    """
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, len(documents), shard_documents)):
        end = min(start + shard_documents, len(documents))
        file = folder / f"{number:05d}.parquet"
        with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for first in range(start, end, BATCH):
                group = documents[first : min(first + BATCH, end)]
                columns = {name: [getattr(d, name) for d in group] for name in SCHEMA.names}
                writer.write_table(pa.table(columns, schema=SCHEMA))


def shards(folder: Path) -> list[Path]:
    """Return the shards of a folder, in order."""
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise UserError(f"{folder}: no parquet shards; {RESTORE}")
    return paths


def texts(shard: Path) -> Iterator[str]:
    """Yield the texts of one shard in order, with one batch in memory at a time."""
    return _column(shard, "text")


def sources(shard: Path) -> list[str]:
    """Return the source of each document of one shard, in order."""
    return list(_column(shard, "source"))


def _column(shard: Path, name: str) -> Iterator[str]:
    try:
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(BATCH, columns=[name]):
                yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{shard}: not a whole parquet file ({reason}); {RESTORE}") from None
