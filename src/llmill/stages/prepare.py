"""Turn raw files into clean, deduplicated, split data: documents to learn from and labelled rows.

    python -m llmill prepare

Input: the roles of stage download. Output: `text/{train,validate}` in parquet shards;
`classification`, `instruction`, `preference` and `mmlu` as JSON lines; `metrics.json`, which counts
what was left out and why.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmill.contract import record, skipped
from llmill.contract.errors import UserError
from llmill.contract.parts import Part
from llmill.contract.values import Section
from llmill.stages.settings.prepare import Prepare
from llmill.tasks import (
    classification,
    division,
    instruction,
    multiple_choice,
    preference,
    split,
)
from llmill.tasks.conversation import said
from llmill.tasks.instruction import Instruction
from llmill.tasks.split import distinct, opening, part, placed, whole
from llmill.text.corpus import intake, parquet
from llmill.text.corpus.cleaning import KEPT, Cleaned
from llmill.text.corpus.contamination import EvaluationTexts
from llmill.text.corpus.duplicates import Bands
from llmill.text.corpus.intake import TextFile, text_files
from llmill.text.corpus.mixture import Mixture, repeated
from llmill.text.corpus.spool import Spool
from llmill.text.download import local, sources
from llmill.text.download.listed import Form, read_sources, source_name, the_file, the_files

if TYPE_CHECKING:
    from llmill.contract.job import Job

SPLITS = split.NAMES
LISTED = 20  # most contradictions that are listed
Splits = dict[str, list[Any]]
Metrics = dict[str, Any]
Prepared = tuple[Splits, Metrics]
Preparing = Callable[[Path, Form], Prepared]


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    prepare: Prepare


def run(params: Parameters, job: Job) -> None:
    """Prepare labelled data first, because documents must not contain its test texts."""
    settings = params.prepare
    evaluation_texts, labelled = prepare_labelled(settings, job)
    files = text_files(job.folder("download") / "text")
    with work_folder(job.scratch / "documents") as folder, Spool(folder / "spool") as spool:
        # Each file by itself, because other jobs or a stopped run may have made some of the parts.
        progress = job.progress("files")
        store, made = job.parts, []
        for file, each in zip(files, text_parts(files, settings, evaluation_texts), strict=True):
            made.append((file.entry["name"], store.made(each)))
            progress(len(made), len(files))
        # All files together, because a document may duplicate one of another file.
        cleaned = Cleaned(
            made, settings.near_duplicates, spool, folder, job.progress("documents compared")
        )
        by_source = cleaned.by_source()
        text_metrics = write_text(cleaned, settings, folder, job)
    metrics = {
        "text": {**text_metrics, "sources": by_source},
        "evaluation_texts": {
            "wanted": evaluation_texts.texts,
            "too_short": evaluation_texts.too_short,
        },
        **labelled,
    }
    record.write_json(job.out / "metrics.json", metrics)
    rows = [{"source": source, **figures} for source, figures in by_source.items()]
    job.track.table("sources", rows)
    job.track.metrics({f"text_{name}": figure for name, figure in text_metrics.items()})
    job.say(
        f"{sum(row['read'] for row in rows)} documents read, "
        f"{sum(row['kept'] for row in rows)} kept, {text_metrics['train_documents']} to train on"
    )


def parts(params: Parameters, job: Job) -> list[Part]:
    """Return the work that other jobs may do in advance: one part per file of text."""
    evaluation_texts, _ = prepare_labelled(params.prepare, job)
    files = text_files(job.folder("download") / "text")
    return text_parts(files, params.prepare, evaluation_texts)


def text_parts(
    files: list[TextFile], settings: Prepare, evaluation_texts: EvaluationTexts
) -> list[Part]:
    """Return a part for each file: the work that does not depend on other files."""
    wanted, bands = evaluation_texts.sha256, Bands(settings.near_duplicates)

    def of_file(file: TextFile) -> Part:
        made_of = {
            "file": record.content_hash(file.path),
            "name": file.path.name,  # its ending determines the reader
            "source": file.entry["name"],
            **{key: file.entry.get(key) for key in ("format", "column", "encoding")},
            "evaluation_texts": wanted,
            "passage_words": settings.passage_words,
            "near_duplicates": settings.near_duplicates.model_dump(mode="json"),
        }

        def write(folder: Path) -> None:
            intake.write(folder, file.read(settings.passage_words), evaluation_texts, bands)

        return Part(made_of, write)

    return [of_file(file) for file in files]


def prepare_labelled(settings: Prepare, job: Job) -> tuple[EvaluationTexts, Metrics]:
    """Prepare everything but the documents; return the texts that these must not contain."""
    raw, out = job.folder("download"), job.out

    def of(role: str, prepare: Preparing, splits: Iterable[str] = SPLITS) -> Prepared:
        return of_role(raw / role, splits, out, prepare)

    messages, message_metrics = of(
        "classification", lambda folder, form: prepare_messages(folder, form, settings, out)
    )
    entries, entry_metrics = of(
        "instruction", lambda folder, form: prepare_instructions(folder, settings, out)
    )
    pairs, pair_metrics = of(
        "preference", lambda folder, form: prepare_preferences(folder, form, settings, entries, out)
    )
    questions, question_metrics = of(
        "mmlu", lambda folder, form: prepare_questions(folder, form, out), multiple_choice.SPLITS
    )
    evaluation_texts = EvaluationTexts(
        [
            *(row.text for row in messages["test"]),
            *(entry.task for entry in entries["test"]),
            *(pair.task for pair in pairs["test"]),
            *(question.question for question in questions["test"]),
        ],
        settings.contamination,
    )
    return evaluation_texts, {
        "classification": message_metrics,
        "instruction": entry_metrics,
        "preference": pair_metrics,
        "mmlu": question_metrics,
    }


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder and remove it at the end. One left by a killed run is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def of_role(folder: Path, splits: Iterable[str], out: Path, prepare: Preparing) -> Prepared:
    """Prepare a role's files. For a role without sources, write a mark instead, so that stages that
    need the role are skipped.
    """
    entries = read_sources(folder)
    if not entries:
        reason = f"download.{folder.name} is null"
        skipped.write(out / folder.name, reason)
        return {name: [] for name in splits}, {skipped.KEY: reason}
    with ExitStack() as stack:
        for entry in entries:
            place = folder / source_name(entry) if len(entries) > 1 else folder
            stack.enter_context(local.own_names(place, entry.get("own", {})))
        return prepare(folder, entries[0].get("own"))


def prepare_messages(folder: Path, form: Form, settings: Prepare, out: Path) -> Prepared:
    """Check, deduplicate and split the labelled messages."""
    if form:
        file = folder / Path(form["file"]).name
        collection = classification.read_table(folder, form)
    else:
        file = folder / sources.CLASSIFICATION
        rows = classification.read_raw(file)
        collection = classification.Collection(rows, [None] * len(rows))
    further = {} if form else classification.read_raw_tests(folder)
    tested = chain.from_iterable(further.values())
    divided = division.divide(collection, settings.classification, tested)
    parts, contradictions = divided.parts, divided.contradictions
    refuse_empty(parts, file, "prepare.classification")
    refuse_small_classes(parts, file)
    (out / "classification").mkdir()
    for name, messages in parts.items():
        classification.write(out / "classification" / f"{name}.jsonl", messages)
    counts = {name: count(row.label for row in messages) for name, messages in parts.items()}
    of_further = {
        "in_further_tests": divided.in_tests,
        "tests": {name: len(messages) for name, messages in further.items()},
    }
    for name, messages in further.items():
        place = out / "classification" / classification.TESTS
        place.mkdir(exist_ok=True)
        classification.write(place / f"{name}.jsonl", messages)
        parts["test"] += messages  # no document may contain these, either
    return parts, {
        "rows": len(collection.messages) + collection.without_text + collection.without_label,
        "duplicates": divided.duplicates,
        "without_text": collection.without_text,
        "without_label": collection.without_label,
        "contradictory": len(contradictions),
        "contradictions": [asdict(each) for each in list(contradictions.values())[:LISTED]],
        **counts,
        **(of_further if further else {}),
    }


def prepare_instructions(folder: Path, settings: Prepare, out: Path) -> Prepared:
    """Check, deduplicate, split and mix the instructions. Entries with the same prompt, and
    conversations that continue it, stay in one split. Training entries are repeated by the weight
    of their source.
    """
    files = the_files(folder)
    read = [
        (row, source)
        for source, file, encoding in files
        for row in instruction.read_raw(file, encoding)
    ]
    answered = [each for each in read if each[0].output.strip()]
    where = folder if len(files) > 1 else files[0][1]
    if not answered:
        raise UserError(f"{where}: no instructions; in each of {len(read)} the response is empty")
    unique = distinct(answered, lambda each: identity(each[0]))
    shares = settings.instruction
    weights = {source: 1.0 for source, _, _ in files} | shares.weights
    once = {source: float(weight > 0) for source, weight in weights.items()}
    asked = {whole(said(entry.asked)) for entry, _ in unique}
    drawn = split.split(
        unique,
        lambda each: opening(said(each[0].asked), asked),
        shares.validate_share,
        shares.test_share,
    )
    parts: Splits = {
        name: repeated(rows, identity, weights if name == "train" else once)
        for name, rows in drawn.items()
    }
    refuse_empty(parts, where, "prepare.instruction")
    (out / "instruction").mkdir()
    for name, entries in parts.items():
        instruction.write(out / "instruction" / f"{name}.jsonl", entries)
    return parts, {
        **repeats(answered, unique, len(read) - len(answered)),
        "without_response": len(read) - len(answered),
        **({"sources": count(s for _, s in unique)["by_label"]} if len(files) > 1 else {}),
        **{name: count(row.kind for row in entries) for name, entries in parts.items()},
    }


def identity(entry: Instruction) -> str:
    """Return the text that identifies an instruction and its response."""
    return f"{entry.task}\n{entry.output}"


def prepare_preferences(
    folder: Path, form: Form, settings: Prepare, entries: Splits, out: Path
) -> Prepared:
    """Check, deduplicate and split the pairs of answers. Pairs with one prompt stay in one split,
    together with an instruction of the same prompt or beginning. Therefore, what is held out from
    one training is held out from both.
    """
    file, encoding = the_file(folder, form)
    rows = preference.read_raw(file, encoding)
    decided = [row for row in rows if not row.undecided]
    unique = distinct(decided, lambda row: f"{row.task}\n{row.chosen}\n{row.rejected}")
    contents_of = {name: [said(each.asked) for each in entries[name]] for name in SPLITS}
    part_of, within = placed(contents_of)
    shares, asked = settings.preference, {whole(said(row.asked)) for row in unique}
    parts: Splits = {name: [] for name in SPLITS}
    for row in unique:
        contents = said(row.asked)
        key = opening(contents, asked)
        drawn = within.get(key) or part(key, shares.validate_share, shares.test_share)
        parts[part_of.get(opening(contents, part_of), drawn)].append(row)
    if not unique:
        raise UserError(f"{file}: no pairs; in each of {len(rows)} both answers are the same")
    refuse_empty(parts, file, "prepare.preference")
    (out / "preference").mkdir()
    for name, pairs in parts.items():
        preference.write(out / "preference" / f"{name}.jsonl", pairs)
    return parts, {
        **repeats(decided, unique, len(rows) - len(decided)),
        "undecided": len(rows) - len(decided),
        **{name: {"rows": len(pairs)} for name, pairs in parts.items()},
    }


def prepare_questions(folder: Path, form: Form, out: Path) -> Prepared:
    """Check the multiple-choice questions, which are already split, except own ones; copy the
    subjects' levels and the questions' entities.
    """
    left_out: Metrics = {}
    if form:
        parts, left_out = multiple_choice.read_own(folder, form)
    else:
        parts = {name: multiple_choice.read_raw(folder, name) for name in multiple_choice.SPLITS}
    (out / "mmlu").mkdir()
    for name, questions in parts.items():
        multiple_choice.write(out / "mmlu" / f"{name}.jsonl", questions)
    for name in ("levels.json", "entities.json"):
        known = record.read_json(folder / name) if (folder / name).exists() else {}
        record.write_json(out / "mmlu" / name, known)
    subjects = {question.subject for questions in parts.values() for question in questions}
    counts = {name: len(questions) for name, questions in parts.items()}
    return parts, {"subjects": len(subjects), **left_out, **counts}


def write_text(cleaned: Cleaned, settings: Prepare, folder: Path, job: Job) -> Metrics:
    """Split by hash, mix by weight, write both splits; never repeat a validation document."""
    spool = cleaned.spool
    # A source that is not named has weight 1.
    weights = {source: 1.0 for source in spool.sources} | settings.weights
    once = {source: float(weight > 0) for source, weight in weights.items()}
    weights_of = {"train": weights, "validate": once}
    mixed = {
        name: Mixture(folder / name, spool.document, job.progress(f"documents of {name} mixed"))
        for name in weights_of
    }
    for number, (source, identity) in enumerate(spool.named()):
        if cleaned.reason[number] == KEPT:
            name = part(identity, settings.validate_share, test_share=0)
            mixed[name].add(number, identity, weights_of[name][source])
    for name, mixture in mixed.items():
        mixture.close()
        if not mixture:
            raise UserError(
                f"params.yaml: of {cleaned.n_kept} documents none is left for {name}; change "
                "prepare.validate_share, prepare.weights or prepare.passage_words"
            )
        parquet.write(job.out / "text" / name, mixture, settings.shard_documents)
    return {f"{name}_documents": len(mixture) for name, mixture in mixed.items()}


def refuse_small_classes(parts: Splits, file: Path) -> None:
    """Raise `UserError` unless there are two classes or more, and every split has each class."""
    counts = Counter(row.label for rows in parts.values() for row in rows)
    if len(counts) < 2:
        raise UserError(
            f"{file}: every text has label '{next(iter(counts))}', once repeats and contradictory "
            "labels are settled; a classifier needs two classes"
        )
    small = division.small_classes(parts)
    for name in parts:
        label = next((label for label, names in small.items() if name in names), None)
        if label:
            raise UserError(
                f"{file}: class '{label}': none of its different texts ({counts[label]}) is "
                f"in split {name}; add some, or leave the class out"
            )


def refuse_empty(parts: Splits, file: Path, section: str) -> None:
    """Raise `UserError` if a split is empty, because later stages need every split."""
    for name, rows in parts.items():
        if not rows:
            raise UserError(f"{file}: split {name} is empty; change the shares in {section}")


def repeats(rows: list[Any], unique: list[Any], unusable: int) -> Metrics:
    """Count the rows of the files, unusable ones included, and those that repeat another one."""
    return {"rows": len(rows) + unusable, "duplicates": len(rows) - len(unique)}


def count(labels: Iterator[str | None]) -> Metrics:
    """Count rows in total, and by label if there are labels."""
    counts = Counter(label for label in labels)
    by_label = {label: counts[label] for label in sorted(x for x in counts if x is not None)}
    return {"rows": sum(counts.values()), **({"by_label": by_label} if by_label else {})}
