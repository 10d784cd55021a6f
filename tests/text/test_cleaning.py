"""Many documents cleaned and mixed as they stream by, beside the same with lists in memory."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llmill.contract.record import sha256_text
from llmill.stages import prepare
from llmill.tasks.split import part
from llmill.text import words
from llmill.text.corpus import batches, intake, parquet, sorting
from llmill.text.corpus.cleaning import Cleaned
from llmill.text.corpus.contamination import EvaluationTexts
from llmill.text.corpus.documents import Document
from llmill.text.corpus.duplicates import Bands
from llmill.text.corpus.mixture import copies
from llmill.text.corpus.spool import Spool
from llmill.text.identity import normal
from tests.conftest import preset
from tests.jobs import Job
from tests.text.test_duplicates import crowded, near_in_memory, prose

SETTINGS = preset("world").prepare.model_copy(
    update={"weights": {"a": 1.5, "b": 1.0}, "shard_documents": 50, "validate_share": 0.2}
)
TESTED = "the lake is deep, they say"


def documents() -> list[Document]:
    """Of two sources: repeats of every kind, evaluation texts, other scripts."""
    texts = crowded(7)
    texts[40:40] = [texts[0].upper(), "中文。", f"Now {TESTED}.", "été", "e\u0301te\u0301", "été "]
    texts += [f"{text} And {TESTED.upper()}!" for text in texts[:5]]
    texts += [" ".join([*prose(9), f"more{i}"]) for i in range(7)]
    return [Document(t, "ab"[i // 40 % 3 == 0], sha256_text(t)) for i, t in enumerate(texts)]


def stream(found: list[Document], folder: Path) -> dict:
    """As the stage does, where each file holds 40 documents."""
    wanted, near = EvaluationTexts([TESTED], SETTINGS.contamination), SETTINGS.near_duplicates
    job, parts, bands = Job(folder), [], Bands(near)
    for start in range(0, len(found), 40):
        own = found[start : start + 40]
        parts.append((own[0].source, folder / f"part{start}"))
        intake.write(parts[-1][1], own, wanted, bands)
    with prepare.work_folder(folder / "work") as work, Spool(work / "spool") as spool:
        cleaned = Cleaned(parts, near, spool, work)
        prepare.write_text(cleaned, SETTINGS, work, job)
        return cleaned.by_source()


def in_memory(found: list[Document], folder: Path) -> dict:
    """The same, as it reads."""
    counts = {
        source: dict.fromkeys(
            ("read", "exact_duplicate", "evaluation_text", "near_duplicate", "kept", "words"), 0
        )
        for source in ("b", "a")
    }
    seen, left = set(), []
    for document in found:
        own = counts[document.source]
        own["read"] += 1
        key = normal(document.text)
        if key in seen:
            own["exact_duplicate"] += 1
        elif " ".join(words.split(TESTED)) in " ".join(words.split(document.text)):
            own["evaluation_text"] += 1
        else:
            left.append(document)
        seen.add(key)
    marks = near_in_memory([document.text for document in left], SETTINGS.near_duplicates)
    mixed = {"train": [], "validate": []}
    for document, repeats in zip(left, marks, strict=True):
        own = counts[document.source]
        own["near_duplicate" if repeats else "kept"] += 1
        if repeats:
            continue
        own["words"] += len(words.split(document.text))
        split = part(document.id, SETTINGS.validate_share, 0)
        n = copies(document.id, SETTINGS.weights[document.source]) if split == "train" else 1
        mixed[split] += [(sha256_text(f"{copy}:{document.id}"), document) for copy in range(n)]
    for split, ranked in mixed.items():
        ordered = [document for _, document in sorted(ranked, key=lambda pair: pair[0])]
        parquet.write(folder / "text" / split, ordered, SETTINGS.shard_documents)
    return counts


@pytest.mark.parametrize(("memory", "together"), [(1 << 23, 1 << 15), (4000, 60)])
def test_what_streams_by_becomes_the_same_bytes_as_lists_in_memory(
    tmp_path, monkeypatch, memory, together
):
    monkeypatch.setattr(sorting, "MEMORY", memory)
    monkeypatch.setattr(batches, "WORDS", together)
    found = documents()
    expected = in_memory(found, tmp_path / "lists")
    assert stream(found, tmp_path / "stream") == expected
    for source in expected.values():
        assert all(source.values())  # every reason occurs
    names = sorted(p.relative_to(tmp_path / "lists") for p in tmp_path.glob("lists/text/*/*"))
    assert len(names) >= 4
    for name in names:
        one, other = (tmp_path / way / name for way in ("lists", "stream"))
        assert one.read_bytes() == other.read_bytes()
    assert len(list(tmp_path.glob("stream/text/*/*"))) == len(names)
    assert pq.read_table(tmp_path / "stream" / names[0]).num_rows == 50
    assert not (tmp_path / "stream/work").exists()


def test_documents_are_found_again_by_number_and_in_order(tmp_path):
    found = documents()
    with Spool(tmp_path / "spool") as spool:
        assert list(spool.keep(iter(found))) == found
        assert [spool.document(number) for number in range(spool.n)] == found
        assert list(spool.named()) == [(d.source, d.id) for d in found]
        assert spool.text(3) == found[3].text
        assert dict(spool.read) == {"b": 120, "a": 160}


def test_documents_of_other_spools_follow_one_another(tmp_path):
    found = [Document(text, "a", sha256_text(text)) for text in ("one", "zwei €", "", "drei")]
    for name, own in (("left", found[:3]), ("right", found[3:])):
        with Spool(tmp_path / name) as spool:
            assert list(spool.keep(own)) == own
    with Spool(tmp_path / "all") as spool:
        assert [spool.add(tmp_path / "left", "b"), spool.add(tmp_path / "right", "a")] == [3, 1]
        assert [spool.text(number) for number in range(4)] == ["one", "zwei €", "", "drei"]
        named = [(source, each.id) for source, each in zip("bbba", found, strict=True)]
        assert list(spool.named()) == named
        assert dict(spool.read) == {"b": 3, "a": 1}


def test_a_work_folder_is_empty_and_goes_with_what_is_in_it(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work/left").write_text("by a run that was killed")
    with pytest.raises(OSError, match="full"), prepare.work_folder(tmp_path / "work") as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").write_text("x")
        raise OSError("disk full")
    assert not (tmp_path / "work").exists()
