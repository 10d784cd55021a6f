"""MMLU in letters with lm-evaluation-harness and with llmill, on the same prompts in one run: the
share of equal choices, the largest difference of log-likelihoods, and questions per second.

    python benchmarks/multiple_choice.py FOLDER --data ../shared/data/mmlu --limit 20

FOLDER is written by stage `export`, and both can read it. Needs `pip install 'llmill[harness]'`
and transformers. `theirs` is model `hf` with lm_eval's own task mmlu on the questions of the CSV
files, without white space around questions and choices unless `--raw` is given; `through` is
lm_eval with llmill's model. In each subject all take turns in random order.

`theirs` is slow. `--keep FILE` saves its results after each subject, and reads those that the file
already has instead of running them; their speed is then from another run, and is marked.
"""

import csv
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from llmill.contract.errors import UserError
from llmill.evaluation.inference.scoring import continuation_logprobs
from llmill.evaluation.multiple_choice.choices import Asking, letter_scores
from llmill.evaluation.multiple_choice.prompts import letter_prompt, shots_by_subject
from llmill.models import language_model
from llmill.tasks.multiple_choice import LETTERS, Question, read_raw

SUBJECTS = (  # small ones, and one whose prompts are longer than 2,048 tokens
    "abstract_algebra,college_chemistry,computer_security,global_facts,management,"
    "us_foreign_policy,high_school_european_history"
)
THEIRS = "theirs"
KEPT = f"{THEIRS}, another run"
Logprobs = list[list[float]]  # for each question, the log-likelihoods of its choices, in nats
Row = tuple[str, list[str], int]  # a question, its choices, the number of the correct choice


@dataclass(frozen=True)
class Settings:
    """The settings that a score depends on."""

    model: str
    shots: int
    bos: bool


@dataclass
class Measured:
    """The results of one way for a subject."""

    logprobs: Logprobs
    seconds: float
    cpu: float  # CPU seconds of all threads, which other programs affect less

    @property
    def speed(self) -> float:
        return len(self.logprobs) / self.seconds


@dataclass
class Comparison:
    """A comparison of two ways over the same questions."""

    questions: int = 0
    same: int = 0  # equal choices
    furthest: float = 0.0  # largest difference of log-likelihoods, in nats
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, theirs: Logprobs, measured: Measured, left_out: set[int]) -> None:
        """Add results of a subject. `left_out` has the numbers of questions whose prompts differ,
        and so do their likelihoods.
        """
        self.seconds += measured.seconds
        self.cpu += measured.cpu
        for number, (a, b) in enumerate(zip(theirs, measured.logprobs, strict=True)):
            self.questions += 1
            self.same += a.index(max(a)) == b.index(max(b))
            if number not in left_out:
                apart = (abs(x - y) for x, y in zip(a, b, strict=True))
                self.furthest = max(self.furthest, *apart)


def main(
    model: Annotated[str, typer.Argument(help="A folder of stage export.")],
    data: Annotated[Path, typer.Option(help="MMLU's CSV files, in dev/ and test/.")],
    subjects: str = SUBJECTS,
    limit: Annotated[int | None, typer.Option(help="Questions per subject.")] = None,
    shots: int = 5,
    bos: Annotated[bool, typer.Option(help="Begin with the token that begins documents.")] = False,
    batch: Annotated[int, typer.Option(help="Batch size of llmill.")] = 64,
    their_batches: Annotated[
        str, typer.Option(help="Batch sizes of theirs; the best counts.")
    ] = "1,4",
    threads: int = 2,
    seed: int = 1,
    keep: Annotated[Path | None, typer.Option(help="File for results of theirs.")] = None,
    only_theirs: Annotated[bool, typer.Option(help="Only run and keep theirs.")] = False,
    raw: Annotated[
        bool, typer.Option(help="Give theirs the files' rows with all white space.")
    ] = False,
) -> None:
    """Print a row for each subject and one for all subjects."""
    import torch

    torch.set_num_threads(threads)
    settings = Settings(Path(model).resolve().as_posix(), shots, bos)
    names = subjects.split(",")
    questions = {name: questions_of(data, "test", name)[:limit] for name in names}
    dev = [shot for name in names for shot in questions_of(data, "dev", name)]
    examples = shots_by_subject(dev, names, shots)
    requests = {name: their_requests(data, name, shots, limit, raw) for name in names}
    others = {
        name: other_prompts(questions[name], examples[name], requests[name]) for name in names
    }

    kept = {} if keep is None else read_kept(keep, settings)
    ours = {} if only_theirs else our_ways(settings, questions, examples, requests, batch)
    sizes = [int(each) for each in their_batches.split(",")]
    theirs = {} if set(names) <= set(kept) else their_ways(settings, requests, sizes)
    rng, every = random.Random(seed), dict[str, dict[str, Measured]]()
    for name in names:
        ways = ours if name in kept else ours | theirs
        order = rng.sample(list(ways), len(ways))
        every[name] = {way: timed(ways[way], name) for way in order}
        if name in kept:
            every[name][KEPT] = cut(kept[name], limit)
        elif keep is not None and limit is None:
            kept[name] = every[name][f"{THEIRS} x{sizes[0]}"]
            write_kept(keep, settings, kept)
        print(name, {way: round(each.speed, 2) for way, each in every[name].items()}, flush=True)
    if not only_theirs:
        print_table(every, others)


def questions_of(data: Path, split: str, subject: str) -> list[Question]:
    """Return the questions of one subject, as stage `prepare` reads them. Raises `UserError` if
    there are none.
    """
    found = [each for each in read_raw(data, split) if each.subject == subject]
    if not found:
        raise UserError(f"{data / split}: no questions of {subject}")
    return found


def their_requests(data: Path, subject: str, shots: int, limit: int | None, raw: bool) -> list[Any]:
    """Return the requests of lm_eval's own task, one per choice. The questions are those that
    llmill reads, without surrounding white space, or if `raw` the files' unchanged rows.
    """
    import lm_eval.tasks

    name = f"mmlu_{subject}"
    definition = Path(lm_eval.tasks.__file__).parent / "mmlu" / "default" / f"{name}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for split in ("dev", "test"):
            rows = raw_rows if raw else read_rows
            documents = [
                {"question": question, "choices": choices, "answer": answer}
                for question, choices, answer in rows(data, split, subject)
            ]
            files[split] = f"{folder}/{split}.jsonl"
            Path(files[split]).write_text("".join(json.dumps(each) + "\n" for each in documents))
        local = {"dataset_path": "json", "dataset_name": None, "num_fewshot": shots}
        local["dataset_kwargs"] = {"data_files": files, "cache_dir": f"{folder}/cache"}
        file = Path(folder, f"{name}.yaml")
        file.write_text(json.dumps({"include": str(definition), "task": name, **local}))
        manager = lm_eval.tasks.TaskManager(include_defaults=False)
        task = manager.load(str(file))["tasks"][name]
        task.build_all_requests(limit=limit)
    return list(task.instances)


def raw_rows(data: Path, split: str, subject: str) -> list[Row]:
    """Return the unchanged rows of a file."""
    with open(data / split / f"{subject}_{split}.csv", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    return [(row[0], row[1:-1], LETTERS.index(row[-1])) for row in rows]


def read_rows(data: Path, split: str, subject: str) -> list[Row]:
    """Return the rows of a file as llmill reads them."""
    return [(q.question, q.choices, q.answer) for q in questions_of(data, split, subject)]


def other_prompts(
    questions: list[Question], examples: list[Question], requests: list[Any]
) -> set[int]:
    """Return the numbers of questions whose prompt differs from lm_eval's."""
    asked = iter(requests)
    found = set()
    for number, question in enumerate(questions):
        prompt = letter_prompt(question, examples)
        ours = [(prompt, f" {letter}") for letter in LETTERS[: len(question.choices)]]
        if ours != [tuple(next(asked).args) for _ in ours]:
            found.add(number)
    return found


def their_ways(
    settings: Settings, requests: dict[str, list[Any]], batches: list[int]
) -> dict[str, Callable[[str], Logprobs]]:
    """Return lm_eval's model `hf` for each batch size."""
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(
        pretrained=settings.model, dtype="float32", device="cpu", add_bos_token=settings.bos
    )

    def of_batch(size: int) -> Callable[[str], Logprobs]:
        def run(name: str) -> Logprobs:
            harness.batch_size_per_gpu = size
            return by_question(requests[name], harness.loglikelihood(requests[name]))

        return run

    return {f"{THEIRS} x{size}": of_batch(size) for size in batches}


def our_ways(
    settings: Settings,
    questions: dict[str, list[Question]],
    examples: dict[str, list[Question]],
    requests: dict[str, list[Any]],
    batch: int,
) -> dict[str, Callable[[str], Logprobs]]:
    """Return llmill alone, and llmill as a model of lm_eval."""
    from llmill.harness import Harness

    language = language_model(settings.model)
    harness = Harness(language, batch_size=batch, add_bos_token=settings.bos)

    def ours(name: str) -> Logprobs:
        asking = Asking(examples, too_long="keep_last")
        model, tokenizer = language.model, language.tokenizer
        if settings.bos:
            return letter_scores(model, tokenizer, questions[name], asking, batch).logprobs
        pairs = [
            (tokenizer.encode(letter_prompt(question, examples[name])), tokenizer.encode(letter))
            for question in questions[name]
            for letter in (f" {letter}" for letter in LETTERS[: len(question.choices)])
        ]
        values = iter(continuation_logprobs(model, pairs, batch))
        return [[next(values) for _ in question.choices] for question in questions[name]]

    def through(name: str) -> Logprobs:
        return by_question(requests[name], harness.loglikelihood(requests[name]))

    return {"ours": ours, "through": through}


def by_question(requests: list[Any], answers: list[tuple[float, bool]]) -> Logprobs:
    """Group the log-likelihoods of the choices by question."""
    grouped: dict[int, list[float]] = {}
    for request, (logprob, _) in zip(requests, answers, strict=True):
        grouped.setdefault(request.doc_id, []).append(logprob)
    return list(grouped.values())


def timed(way: Callable[[str], Logprobs], name: str) -> Measured:
    start, cpu = time.perf_counter(), time.process_time()
    logprobs = way(name)
    return Measured(logprobs, time.perf_counter() - start, time.process_time() - cpu)


def cut(measured: Measured, limit: int | None) -> Measured:
    """Return the first `limit` questions of a kept result, at the same speed."""
    logprobs = measured.logprobs[:limit]
    share = len(logprobs) / len(measured.logprobs)
    return Measured(logprobs, share * measured.seconds, share * measured.cpu)


def write_kept(file: Path, settings: Settings, kept: dict[str, Measured]) -> None:
    """Save lm_eval's results so far."""
    subjects = {name: asdict(each) for name, each in kept.items()}
    file.write_text(json.dumps({"settings": asdict(settings), "subjects": subjects}, indent=1))


def read_kept(file: Path, settings: Settings) -> dict[str, Measured]:
    """Read saved results. Raises `UserError` if they were made with other settings."""
    if not file.exists():
        return {}
    content = json.loads(file.read_text())
    if content["settings"] != asdict(settings):
        raise UserError(f"{file}: made with {content['settings']}, not with {asdict(settings)}")
    return {name: Measured(**each) for name, each in content["subjects"].items()}


def print_table(every: dict[str, dict[str, Measured]], others: dict[str, set[int]]) -> None:
    """Print for each subject and for all: the number of differing prompts, the share of equal
    choices and the largest difference (of `ours`, for equal prompts), questions per second, and the
    speed of `ours` relative to `theirs`, by wall-clock time and by CPU time.
    """
    heads = ("subject", "questions", "other prompts", "same", "furthest", "same", "furthest")
    print(
        "| "
        + " | ".join((*heads, "theirs/s", "ours/s", "through/s", "times", "CPU", "theirs"))
        + " |"
    )
    print("|---|" + "---:|" * 11 + "---|")
    total = {way: Comparison() for way in (THEIRS, "ours", "through")}
    for name, ways in every.items():
        of_theirs = {way: each for way, each in ways.items() if way.startswith(THEIRS)}
        best = min(of_theirs, key=lambda way: ways[way].seconds)
        one = {way: Comparison() for way in total}
        first = next(iter(of_theirs.values())).logprobs
        for way in total:
            measured = ways[best if way == THEIRS else way]
            for comparison in (one[way], total[way]):
                comparison.add(first, measured, others[name] if way == "ours" else set())
        print(row(name, one, len(others[name]), best))
    print(row("all", total, sum(map(len, others.values())), ""))


def row(name: str, found: dict[str, Comparison], others: int, best: str) -> str:
    n = found[THEIRS].questions
    cells = [name, str(n), str(others)]
    for way in ("ours", "through"):
        cells += [f"{found[way].same / n:.2%}", f"{found[way].furthest:.1e}"]
    cells += [f"{n / each.seconds:.2f}" for each in found.values()]
    times = found[THEIRS].seconds / found["ours"].seconds
    cpu = found[THEIRS].cpu / found["ours"].cpu
    return "| " + " | ".join((*cells, f"{times:.1f}", f"{cpu:.1f}", best)) + " |"


if __name__ == "__main__":
    typer.run(main)
