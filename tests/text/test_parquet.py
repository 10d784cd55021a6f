import pyarrow.parquet as pq
import pytest

from llmill.contract.errors import UserError
from llmill.contract.record import sha256_file
from llmill.text.corpus import parquet
from llmill.text.corpus.documents import Document

DOCUMENTS = [Document(f"text {i} é", "mine", f"{i:064x}") for i in range(5)]


def test_documents_come_back_in_order_from_shards_of_the_asked_size(tmp_path):
    parquet.write(tmp_path / "train", DOCUMENTS, 2)
    shards = parquet.shards(tmp_path / "train")
    assert [s.name for s in shards] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert [list(parquet.texts(s)) for s in shards] == [
        ["text 0 é", "text 1 é"],
        ["text 2 é", "text 3 é"],
        ["text 4 é"],
    ]
    assert parquet.sources(shards[0]) == ["mine", "mine"]
    rows = pq.read_table(shards[2]).to_pylist()
    assert rows == [{"text": "text 4 é", "source": "mine", "id": f"{4:064x}"}]


def test_the_same_documents_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        parquet.write(tmp_path / name, DOCUMENTS, 10)
    hashes = {sha256_file(tmp_path / name / "00000.parquet") for name in ("one", "two")}
    assert len(hashes) == 1
    assert b"pandas" not in (tmp_path / "one" / "00000.parquet").read_bytes()


def test_a_truncated_shard_and_a_missing_folder_are_named(tmp_path):
    parquet.write(tmp_path / "train", DOCUMENTS, 10)
    shard = tmp_path / "train" / "00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"00000\.parquet: not a whole parquet file.*dvc checkout"):
        list(parquet.texts(shard))
    with pytest.raises(UserError, match="nothing: no parquet shards"):
        parquet.shards(tmp_path / "nothing")
