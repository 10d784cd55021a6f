"""MMLU in letters through lm-evaluation-harness and through llmill: whether the choices are the
same, how far log-likelihoods are apart, and questions a second, in one run on the same prompts.

    python benchmarks/multiple_choice.py FOLDER --data ../shared/data/mmlu --limit 20

FOLDER is what stage `export` writes, which both can read. Needs `pip install 'llmill[harness]'`
and transformers. Theirs is model `hf` with lm_eval's own task mmlu on the questions of the CSV
files, without white space round questions and choices, unless `--raw`; `through` is lm_eval with
llmill's model. In each subject all take turns in random order.

Theirs is slow, so `--keep FILE` writes it down, a subject at a time, and what the file has already
is read in place of being run; its speed is then that of another run, and marked.
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
Logprobs = list[list[float]]  # of each question its choices, in nats
Row = tuple[str, list[str], int]  # a question, its choices, the number of the right one


@dataclass(frozen=True)
class Settings:
    """What a score depends on."""

    model: str
    shots: int
    bos: bool


@dataclass
class Measured:
    """What one way says of a subject."""

    logprobs: Logprobs
    seconds: float
    cpu: float  # seconds of all threads, which other programs move less

    @property
    def speed(self) -> float:
        return len(self.logprobs) / self.seconds


@dataclass
class Comparison:
    """Two ways over the same questions."""

    questions: int = 0
    same: int = 0  # choices
    furthest: float = 0.0  # log-likelihoods, in nats
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, theirs: Logprobs, measured: Measured, left_out: set[int]) -> None:
        """`left_out`: numbers of questions whose prompts differ, so that likelihoods must."""
        self.seconds += measured.seconds
        self.cpu += measured.cpu
        for number, (a, b) in enumerate(zip(theirs, measured.logprobs, strict=True)):
            self.questions += 1
            self.same += a.index(max(a)) == b.index(max(b))
            if number not in left_out:
                apart = (abs(x - y) for x, y in zip(a, b, strict=True))
                self.furthest = max(self.furthest, *apart)


def main(
    model: Annotated[str, typer.Argument(help="An exported folder.")],
    data: Annotated[Path, typer.Option(help="MMLU's CSV files, in dev/ and test/.")],
    subjects: str = SUBJECTS,
    limit: Annotated[int | None, typer.Option(help="Questions of a subject.")] = None,
    shots: int = 5,
    bos: Annotated[bool, typer.Option(help="Begin behind the token that documents do.")] = False,
    batch: Annotated[int, typer.Option(help="Of llmill.")] = 64,
    their_batches: Annotated[str, typer.Option(help="The best one counts.")] = "1,4",
    threads: int = 2,
    seed: int = 1,
    keep: Annotated[Path | None, typer.Option(help="A file for theirs.")] = None,
    only_theirs: Annotated[bool, typer.Option(help="To keep it.")] = False,
    raw: Annotated[
        bool, typer.Option(help="Theirs gets the files' rows, white space and all.")
    ] = False,
) -> None:
    """Print a row for each subject and one for all."""
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
    """Those of one subject, as stage `prepare` reads them."""
    found = [each for each in read_raw(data, split) if each.subject == subject]
    if not found:
        raise UserError(f"{data / split}: no questions of {subject}")
    return found


def their_requests(data: Path, subject: str, shots: int, limit: int | None, raw: bool) -> list[Any]:
    """lm_eval's requests of its own task, a choice each: of the questions as llmill reads them,
    without white space around, or of the files' rows as they are.
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
    """The rows of a file as they are."""
    with open(data / split / f"{subject}_{split}.csv", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    return [(row[0], row[1:-1], LETTERS.index(row[-1])) for row in rows]


def read_rows(data: Path, split: str, subject: str) -> list[Row]:
    """The same as llmill reads them."""
    return [(q.question, q.choices, q.answer) for q in questions_of(data, split, subject)]


def other_prompts(
    questions: list[Question], examples: list[Question], requests: list[Any]
) -> set[int]:
    """Numbers of questions whose prompt is not theirs to the letter."""
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
    """Their model `hf`, by the size of its batches."""
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
    """llmill by itself, and as a model of lm_eval's."""
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
    """The choices of each question together."""
    grouped: dict[int, list[float]] = {}
    for request, (logprob, _) in zip(requests, answers, strict=True):
        grouped.setdefault(request.doc_id, []).append(logprob)
    return list(grouped.values())


def timed(way: Callable[[str], Logprobs], name: str) -> Measured:
    start, cpu = time.perf_counter(), time.process_time()
    logprobs = way(name)
    return Measured(logprobs, time.perf_counter() - start, time.process_time() - cpu)


def cut(measured: Measured, limit: int | None) -> Measured:
    """The first questions of what was kept, at the same speed."""
    logprobs = measured.logprobs[:limit]
    share = len(logprobs) / len(measured.logprobs)
    return Measured(logprobs, share * measured.seconds, share * measured.cpu)


def write_kept(file: Path, settings: Settings, kept: dict[str, Measured]) -> None:
    """Theirs so far."""
    subjects = {name: asdict(each) for name, each in kept.items()}
    file.write_text(json.dumps({"settings": asdict(settings), "subjects": subjects}, indent=1))


def read_kept(file: Path, settings: Settings) -> dict[str, Measured]:
    """What is there; `UserError` if it was made with other settings."""
    if not file.exists():
        return {}
    content = json.loads(file.read_text())
    if content["settings"] != asdict(settings):
        raise UserError(f"{file}: made with {content['settings']}, not with {asdict(settings)}")
    return {name: Measured(**each) for name, each in content["subjects"].items()}


def print_table(every: dict[str, dict[str, Measured]], others: dict[str, set[int]]) -> None:
    """Of each subject and of all: prompts that are not theirs, the same choices and the greatest
    difference (of ours where the prompts are equal), questions a second, and how many times theirs
    ours does: by the clock, and by seconds of the processor.
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
