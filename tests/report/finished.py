"""A small finished chain, made up: what every stage before `report` leaves, in the real layout, with the real edges."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmill.contract import pipeline, record
from llmill.contract.pipeline import Stage
from llmill.evaluation.statistics import intervals
from llmill.runner import params
from llmill.stages import report as stage
from tests.conftest import ROOT, preset

SCRIPT = "<script>alert('& more')</script>"
ROLES = ("classification", "init", "instruction", "mmlu", "preference", "text", "tokenizer")
SUBJECTS = {
    "capitals": "one_fact",
    "chemical_symbols": "one_fact",
    "planets": "one_fact",
    "unseen_phrasings": "phrasing",
    "comparisons": "comparison",
    "arithmetic": "arithmetic",
    "two_hops": "two_hops",
}
KNOWN = {"reference": 100, "paraphrase": 100, "wrong": 0, "another": 0, "noise": 0}
KINDS = ("question", "passive_voice", "translation")


class Job:
    """What the stage needs of a job, and what it sent to the tracker."""

    def __init__(self, stages: dict[str, Stage], out: Path):
        self.stages, self.out, self.track, self.said = stages, out, self, []
        self.sent: dict[str, Any] = {}
        self.stage = stages["report"]
        out.mkdir(parents=True)

    @property
    def inputs(self) -> list[Path]:
        return [Path(dep) for dep in self.stages["report"].deps]

    @property
    def parents(self) -> list[Stage]:
        return pipeline.parents(self.stages, self.stage)

    def say(self, text: str) -> None:
        self.said.append(text)

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        self.sent |= values

    def picture(self, file: Path) -> None:
        self.sent[file.stem] = file.read_bytes()

    def text(self, name: str, text: str) -> None:
        self.sent[name] = text


def tree() -> params.Params:
    """The parameters of the world."""
    return preset("world")


def stages() -> dict[str, Stage]:
    """The real stage graph."""
    return params.stages(tree(), ROOT / "dvc.yaml")


def before() -> dict[str, Stage]:
    """The stages that stage `report` reads."""
    every = stages()
    return {made.address: made for made in pipeline.parents(every, every["report"])}


def write(root: Path) -> None:
    """Write the files of every stage that is read below `root`, with their records."""
    (root / "requirements.lock").write_text("matplotlib==3.10.0\nnumpy==2.2.0\ntorch==2.13.0\n")
    for made in before().values():
        folder = root / made.out
        folder.mkdir(parents=True)
        CONTENT[made.name](folder, made.variant)
        inputs = {dep: record.sha256_text(dep) for dep in made.deps}
        record.write(folder, made.address, params.values(tree(), made.params), inputs)


def report(root: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Run the stage on what `write` wrote, in its folder; the result stays in the job's `out`."""
    monkeypatch.chdir(root)
    job = Job(stages(), root / "results" / "report")
    stage.run(stage.Parameters(report=tree().report), job)
    return job


def share(value: float, n: int) -> dict[str, float]:
    return intervals.share(round(value * n), n, 0.95)


def download(folder: Path, variant: None) -> None:
    for role in ROLES:
        entry = {"name": "world", "title": "The built-in world", "licence": "no rights reserved"}
        files = [{"path": f"{role}.txt", "bytes": 1_234_567, "sha256": record.sha256_text(role)}]
        (folder / role).mkdir()
        listed = [] if role in ("init", "tokenizer") else [{**entry, "files": files}]
        record.write_json(folder / role / "sources.json", listed)
    metrics(folder, {role: {"files": 1, "bytes": 1_234_567} for role in ROLES})


def prepare(folder: Path, variant: None) -> None:
    reasons = {"exact_duplicate": 121, "evaluation_text": 17, "near_duplicate": 288}
    source = {"read": 24_012, **reasons, "kept": 23_586, "words": 1_482_030}
    messages = {"rows": 3150, "by_label": {"ham": 1950, "spam": 1200}}
    asked = {"rows": 2550, "by_label": dict.fromkeys(KINDS, 850)}
    text = {"train_documents": 23_120, "validate_documents": 466, "sources": {"world": source}}
    metrics(
        folder,
        {
            "text": text,
            "evaluation_texts": {"wanted": 1733, "too_short": 12},
            "classification": {"rows": 4500, "duplicates": 3}
            | dict.fromkeys(("train", "validate", "test"), messages),
            "instruction": {"rows": 3000, "duplicates": 0, "without_response": 2}
            | dict.fromkeys(("train", "validate", "test"), asked),
            "mmlu": {"subjects": 7, "dev": 35, "val": 70, "test": 420},
        },
    )


def tokenizer(folder: Path, variant: None) -> None:
    metrics(folder, {"n_vocab": 1024, "bytes_per_token": 3.4127, "longest_token_bytes": 14})


def tokenize(folder: Path, variant: None) -> None:
    split = {"tokens": 2_621_440, "documents": 23_120, "text_bytes": 8_912_896, "shards": 3}
    metrics(folder, {name: {**split, "bytes_per_token": 3.4} for name in ("train", "validate")})


RIGHT = {"last_layer": 0.83, "last_block": 0.95, "last_two_blocks": 0.97, "all": 0.985}


def pretrain(folder: Path, variant: None) -> None:
    curve(folder, 640, 20, 160, start=6.9, end=0.91)
    texts = [
        {"step": step, "prompt": prompt, "text": f" France is Paris, {step} {SCRIPT}\nand so on."}
        for step in (160, 320, 480, 640)
        for prompt in ("The capital of", "Gold is")
    ]
    record.write_json(folder / "samples.json", texts)
    losses = {"validation_loss": 0.913, "bits_per_byte": 0.386, "perplexity": math.exp(0.913)}
    sizes = {"parameters": 1_048_576, "steps": 640, "tokens": 2_621_440, "epochs": 1.0}
    metrics(folder, {**losses, **sizes})


def classify(folder: Path, variant: str) -> None:
    if variant not in RIGHT:
        why = {"skipped": f"variants.{variant} is false"}
        record.write_json(folder / "scores.json", [])
        record.write_bytes(folder / "curves.csv", b"")
        return metrics(folder, why)
    end = {"last_layer": 0.41, "last_block": 0.12, "last_two_blocks": 0.08, "all": 0.04}[variant]
    curve(folder, 396, 20, 100, start=0.72, end=end)
    right = RIGHT[variant]
    figures = {"validation_loss": end, "validation_accuracy": right, "messages_cut": 7}
    metrics(folder, {**figures, "steps": 396})
    return None


def instruct(folder: Path, variant: None) -> None:
    curve(folder, 640, 20, 100, start=3.1, end=0.22)
    between = [{"share": share, "validation_loss": 0.25, "exact_match": 0.75} for share in (0.8, 1)]
    counted = {"learnt_share": 0.234, "instructions_cut": 4, "test_prompts_cut": 1}
    figures = {"validation_loss": 0.22, "steps": 640, "interpolation": between, **counted}
    metrics(folder, {**figures, "test_instructions": 300})


def prefer(folder: Path, variant: None) -> None:
    lines = [
        "step,tokens,lr,train_loss,validation_loss,validation_accuracy,margin,"
        "chosen_log_probability,rejected_log_probability,kl",
        "0,0,,,0.69,0.5,0,-1.25,-12.5,0",
        "16,4096,0.001,0.7,,,,,,",
        "32,8192,0.001,0.6,0.4,0.7,0.5,-1.5,-15,0.5",
        "64,16384,0.001,0.5,0.31,0.75,0.875,-1.375,-20,1.234",
    ]
    record.write_bytes(folder / "curves.csv", ("\n".join(lines) + "\n").encode())
    beside = {"longer_answer": share(0.55, 200), "shorter_answer": share(0.4, 200)}
    found = {"accuracy": share(0.72, 200), "beside": beside, "margin": 0.8, "kl": 1.234}
    found |= {"chosen_log_probability": {"before": -1.0, "after": -1.5}, "chosen_fell_at_step": 32}
    found |= {"train_pairs": 1000, "validate_pairs": 100, "test_pairs": 200, "pairs_too_long": 12}
    counted = {"steps": 64, "test_instructions": 300, "test_prompts_cut": 1}
    metrics(folder, {**found, **counted, "validation_loss": 0.31})


def knowledge(folder: Path, variant: str) -> None:
    kept, lost, gained = {"instruct": (90, 138, 6), "prefer": (80, 148, 4)}[variant]
    less = (gained - lost) / 240
    way = {
        "before": share((kept + lost) / 240, 240),
        "after": share((kept + gained) / 240, 240),
        "kept": kept,
        "lost": lost,
        "gained": gained,
        "difference": {
            "value": less, "low": less - 0.06, "high": less + 0.06, "n": 240, "covers": "items"
        },
    }  # fmt: skip
    metrics(
        folder,
        {
            **dict.fromkeys(("cloze", "in_template", "written", "answered"), way),
            "questions": 240,
            "chance": 0.25,
            "of_others": {"before": 0.01, "after": 0.02, "answered": 0.03},
            "loss": {
                "news": {"before": 3.0, "after": 3.5, "tokens": 4096},
                "world": {"before": 0.75, "after": 0.625, "tokens": 12000},
            },
        },
    )


def signals(folder: Path, variant: None) -> None:
    def bits(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 215}

    def guessed(right: float, perplexity: float) -> dict[str, Any]:
        return {"accuracy": share(right, 215), "perplexity": bits(perplexity)}

    def of_samples(distinct: float) -> dict[str, Any]:
        kinds = {f"distinct_{n}": share(distinct * n, 64) for n in (1, 2, 3)}
        runs = {"repeated_4": share(0.06, 64), "longest_run": bits(16.8)}
        return {**kinds, **runs, "copied": share(0.0, 64)}

    halves = {"whole": share(0.0, 100), "tokens": share(0.12, 100)}
    gain = {"value": 0.023, "low": -0.001, "high": 0.046, "n": 200}
    pairs = {"model": share(0.7, 450), "unigram": share(0.52, 450), "shorter": share(0.5, 450)}
    counted = {"unigram": bits(2.137), "gzip": 2.214, "word_perplexity": 3.414}
    metrics(
        folder,
        {
            "bits_per_byte": {"all": bits(0.311), **counted},
            "last_words": {
                **guessed(0.84, 1.9),
                "near": guessed(0.21, 444.0),
                "bigram": guessed(0.13, 373.0),
                "unigram": {"perplexity": bits(151_700.0)},
            },
            "memorisation": {
                "training": halves,
                "held_out": {**halves, "tokens": share(0.1, 100)},
                "difference": {"whole": gain, "tokens": gain},
            },
            "samples": {"written": of_samples(0.23), "held_out": of_samples(0.24)},
            "minimal_pairs": {**pairs, "phenomena": {"agreement_across": pairs}},
        },
    )


def grader(folder: Path, variant: None) -> None:
    curve(folder, 320, 20, 100, start=0.19, end=0.03)
    rng = np.random.default_rng(1)
    rows = [
        {
            "kind": kind,
            "score": float(score),
            "predicted": float(np.clip(rng.normal(score, 12), 0, 100)),
        }
        for kind, score in KNOWN.items()
        for _ in range(60)
    ]
    record.write_json(folder / "heldout.json", rows)
    known, predicted = [r["score"] for r in rows], [r["predicted"] for r in rows]
    found = {"pairs_right": intervals.pairs_right(known, predicted, resamples=50)}
    found |= {"paraphrases_right": share(0.9, 200), "paraphrases_rouge_l": share(0.5, 200)}
    found["above_another"] = share(0.99, 300)
    given = {"reference": 77.0, "another": 66.0, "constant": 45.0, "empty": 31.0}
    found["gives"] = {
        k: {"value": v, "low": v - 2, "high": v + 2, "n": 300, "covers": "items"}
        for k, v in given.items()
    }
    metrics(folder, {**found, "validation_loss": 0.03, "steps": 320})


def accuracy(folder: Path, variant: None) -> None:
    def system(right: float) -> dict[str, Any]:
        ham, spam = round(540 * right), round(360 * right)
        measures = {
            m: share(right, 900) for m in ("accuracy", "precision", "recall", "f1", "macro_f1")
        }
        return {**measures, "confusion": [[ham, 540 - ham], [360 - spam, spam]]}

    calibration = {"expected_error": 0.031, "temperature": 1.7, "expected_error_scaled": 0.012}
    trained = {
        "last_layer": 256,
        "last_block": 196_864,
        "last_two_blocks": 393_472,
        "all": 1_310_976,
    }
    variants = {
        name: {
            **system(right),
            "validation_accuracy": right,
            "trainable_parameters": trained[name],
            "by_seed": {"1": right, "2": right - 0.01},
            "calibration": calibration,
            "sizes": {"100": share(0.7, 900), "400": share(0.8, 900)}
            if name == "last_layer"
            else {},
        }
        for name, right in RIGHT.items()
    }
    gain = {"value": 0.034, "low": 0.021, "high": 0.047, "n": 900, "covers": "items"}
    metrics(
        folder,
        {
            "test_messages": 900,
            "labels": ["ham", "spam"],
            "positive": "spam",
            "variants": variants,
            "between": [
                {
                    "first": "last_block",
                    "second": "all",
                    "difference": gain,
                    "only_first_right": 4,
                    "only_second_right": 35,
                    "mcnemar_p": 0.00001,
                }
            ],
            "baselines": {
                "tfidf": {**system(0.951), "pieces": "characters"},
                "majority": system(0.6),
            },
            "tests": {
                test: {
                    "messages": n,
                    "systems": {
                        name: {"accuracy": share(right, n)}
                        for name, right in {**RIGHT, "tfidf": 0.82, "majority": 0.55}.items()
                    },
                }
                for test, n in (("unseen_patterns", 500), ("everyday", 40))
            },
            "best": "all",
            "best_against_tfidf": {"difference": gain, "mcnemar_p": 0.00012},
        },
    )


def mmlu(folder: Path, variant: str) -> None:
    def shares(rights: dict[str, float]) -> dict[str, Any]:
        levels: dict[str, list[float]] = {}
        for subject, level in SUBJECTS.items():
            levels.setdefault(level, []).append(rights[subject])
        return {
            "all": share(sum(rights.values()) / len(rights), 420),
            "subject_mean": sum(rights.values()) / len(rights),
            "levels": {k: share(sum(v) / len(v), 60 * len(v)) for k, v in levels.items()},
            "subjects": {name: share(right, 60) for name, right in rights.items()},
            "by": {
                unit: {"all": share(right, 420)}
                for unit, right in (
                    ("sum", 0.62),
                    ("token", 0.66),
                    ("byte", 0.74),
                    ("character", 0.73),
                )
            },
            "blind": share(0.26, 420),
            "calibration_error": 0.08,
        }

    less = 0.0 if variant == "pretrain" else 0.06
    cloze = dict(zip(SUBJECTS, (0.97, 0.93, 0.95, 0.88, 0.62, 0.31, 0.52), strict=True))
    letter = dict(zip(SUBJECTS, (0.27, 0.22, 0.25, 0.31, 0.28, 0.18, 0.24), strict=True))
    found = {
        "letter": shares(letter),
        "cloze": shares({name: right - less for name, right in cloze.items()}),
    }
    guesses = {"longest": share(0.27, 420), "most_shared": share(0.24, 420), "chance": 0.25}
    cut = {"prompts_cut": {"letter": 3, "cloze": 0}, "questions": 420}
    metrics(folder, {**found, **guesses, **cut, "clusters": 391})


def judge(folder: Path, variant: str) -> None:
    centre = {"pretrain": 24.0, "instruct": 83.0, "prefer": 85.0}[variant]
    rng = np.random.default_rng(2)
    scores = np.clip(rng.normal(centre, 20, 300), 0, 100).round(4).tolist()
    rows = [
        {
            "instruction": f"Name the capital of country {i}.",
            "input": "Answer in one word." if i % 3 == 0 else "",
            "reference": "Paris",
            "answer": f"Paris {SCRIPT}" if i % 2 else "",
            "kind": KINDS[i % 3],
            "score": None if i == 7 else score,
            "rule": score > 90 or None,
            "judge": score,
            "exact": score > 90,
            "rouge_l": 0.5,
        }
        for i, score in enumerate(scores)
    ]
    record.write_json(folder / "scores.json", rows)
    counts, edges = np.histogram(scores, bins=range(0, 101, 10))
    middle = float(np.mean(scores))
    ends = {"low": middle - 2.2, "high": middle + 2.2}
    mean = {"value": middle, **ends, "n": 299, "covers": "items"}
    exact = share(sum(r["exact"] for r in rows) / 300, 300)
    shown = {"mean": mean, "exact_match": exact, "rouge_l": share(0.6, 300)}
    by_kind = {kind: {**shown, "n": 100} for kind in KINDS}
    if variant != "pretrain":
        shown |= {
            "auc": share(0.93, 100),
            "auc_longest": share(0.5, 100),
            "auc_rouge_l": share(0.99, 100),
        }
    metrics(
        folder,
        {
            "backend": "grader",
            "model": "grader",
            **shown,
            "n": 300,
            "decided": {"right": 60, "wrong": 150},
            "unparseable": 1,
            "empty": 150,
            "short_of": [],
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            "by_kind": by_kind,
            "agreement": agreement(),
        },
    )


def agreement() -> dict[str, Any]:
    def of(n: int, **values: float) -> dict[str, Any]:
        return {name: share(value, n) for name, value in values.items()}

    return {
        "rules": of(210, kappa=0.9, spearman=0.3, kendall=0.2),
        "rouge_l": of(300, spearman=0.8, kendall=0.6),
        "alpha": of(300, nominal=0.5, ordinal=0.7, interval=0.6),
        "length": {"right": share(0.1, 60), "others": share(0.2, 240)},
    }


def contamination(folder: Path, variant: None) -> None:
    def figures(items: int, overlap: float, right: float, wrong: float) -> dict[str, Any]:
        n = round(overlap * items)
        return {
            "items": items,
            "whole": items // 2,
            "without_words": 0,
            "overlapping": share(overlap, items),
            "above_threshold": share(overlap / 2, items),
            "by_part": {"documents": share(0, items), "messages": share(overlap, items)},
            "longest": 21 if n else 0,
            "right_answer": share(right, n),
            "wrong_answer": share(wrong, n),
        }

    def scores(n: int, overlapping: int) -> dict[str, Any]:
        return {
            "all": share(0.7, n),
            "overlapping": share(0.9, overlapping),
            "without": share(0.6, n - overlapping),
            "below_threshold": share(0.65, n - overlapping // 2),
        }

    metrics(
        folder,
        {
            "items": 1620,
            "overlapping": 210,
            "words": 13,
            "threshold": 0.5,
            "reach": 20,
            "kinds": {
                "questions": figures(420, 0, 0, 0),
                "instructions": figures(300, 0.1, 0.2, 0.2),
                "messages": figures(900, 0.2, 0.95, 0.05),
            },
            "scores": {
                "questions": {"pretrain": {"cloze": scores(420, 0)}},
                "instructions": {"instruct": {"exact_match": scores(300, 30)}},
                "messages": {"all": {"accuracy": scores(900, 180)}},
            },
        },
    )


def metrics(folder: Path, values: dict[str, Any]) -> None:
    record.write_json(folder / "metrics.json", values)


def curve(folder: Path, steps: int, every: int, validate: int, start: float, end: float) -> None:
    rng = np.random.default_rng(3)
    lines = ["step,tokens,lr,train_loss,validation_loss,bits_per_byte"]
    for step in [*range(every, steps, every), steps]:
        loss = end + (start - end) * math.exp(-6 * step / steps)
        held_out = f"{loss * 1.04:.6g}" if step % validate == 0 or step == steps else ""
        noisy = loss * (1 + rng.normal(0, 0.03))
        lines.append(f"{step},{step * 4096},{0.001:.6g},{noisy:.6g},{held_out},")
    record.write_bytes(folder / "curves.csv", ("\n".join(lines) + "\n").encode())


CONTENT = {
    "download": download,
    "prepare": prepare,
    "tokenizer": tokenizer,
    "tokenize": tokenize,
    "pretrain": pretrain,
    "classify": classify,
    "instruct": instruct,
    "prefer": prefer,
    "grader": grader,
    "accuracy": accuracy,
    "mmlu": mmlu,
    "knowledge": knowledge,
    "signals": signals,
    "judge": judge,
    "contamination": contamination,
}
