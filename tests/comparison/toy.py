"""A toy repository whose chain never runs: `dvc.lock`, DVC's cache and its run cache are written by
hand, as DVC would have left them.

A stage's result follows from its parameters and inputs by plain functions, so that a run with other
values can be put into the cache without being the result of any commit.
"""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

STAGES = ["code", "train", "tune", "mmlu@tune", "report"]
DVC = """
stages:
  code: {cmd: python -m llmill code, deps: [src], outs: [data/code]}
  train: {cmd: python -m llmill train, outs: [results/train]}
  tune: {cmd: python -m llmill tune, outs: [results/tune]}
  mmlu:
    matrix: {model: [tune]}
    cmd: python -m llmill mmlu ${item.model}
    outs: ["results/mmlu/${item.model}"]
  report: {cmd: python -m llmill report, outs: [results/report]}
"""
CODE = {"modules": {"llmill.a": "1" * 64}, "tables": {}, "packages": {"torch": "2.0"}}
QUESTIONS = [f"What is {n}?" for n in range(10)]


class Toy:
    """The repository, and what writes into it."""

    def __init__(self, root: Path):
        self.root, self.cache = root, root / ".dvc/cache/files/md5"
        (root / ".dvc/tmp").mkdir(parents=True)
        (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
        (root / "dvc.yaml").write_text(DVC)
        (root / "requirements.lock").write_text("torch==2.0\n")
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        name = ["-c", "user.name=toy", "-c", "user.email=toy@example.org"]
        done = subprocess.run(
            ["git", *name, *words], cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def file(self, content: bytes) -> str:
        """Put a file into the cache; its hash."""
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        place = self.cache / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return md5

    def folder(self, files: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """Put a folder into the cache; its hash, and those of its files."""
        hashes = {name: self.file(json.dumps(value).encode()) for name, value in files.items()}
        listed = [{"md5": hashes[name], "relpath": name} for name in sorted(hashes)]
        content = json.dumps(listed, sort_keys=True).encode()
        md5 = self.file(content)
        named = self.cache / md5[:2] / f"{md5[2:]}.dir"
        (self.cache / md5[:2] / md5[2:]).rename(named)
        return f"{md5}.dir", hashes

    def run(
        self, name: str, out: str, deps: dict[str, str], parameters: Any, files: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """A run as DVC writes it down, kept in the run cache; and the hashes of what it left."""
        md5, hashes = self.folder(files)
        entry: dict[str, Any] = {"cmd": f"python -m llmill {name}"}
        entry["deps"] = [{"path": path, "hash": "md5", "md5": deps[path]} for path in deps]
        if parameters:
            entry["params"] = {"params.yaml": parameters}
        entry["outs"] = [{"path": out, "hash": "md5", "md5": md5}]
        text = yaml.safe_dump(entry, sort_keys=False)
        key = hashlib.sha256(text.encode()).hexdigest()
        place = self.root / ".dvc/cache/runs" / key[:2] / key / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return entry, {f"{out}/{file}": md5 for file, md5 in hashes.items()} | {out: md5}

    def chain(
        self, lr: float = 0.1, steps: int = 10, shots: int = 0, code: Any = CODE, seed: int = 1
    ) -> dict[str, Any]:
        """Put a run of every stage into the cache; the entries of `dvc.lock`.

        Of ten questions three are right, four more after 20 steps, one less at a rate below 0.05, two
        more with shots. A rate below 0.01 is taken as 0.01, so there the foundation is the same.
        """
        stages = ("train", "tune", "mmlu", "report")
        made, codes = self.run(
            "code", "data/code", {"src": "0" * 32}, None, {f"{s}.json": code for s in stages}
        )
        found = {"code": made}

        def add(address: str, out: str, reads: dict[str, str], parameters: Any, files: Any) -> Any:
            name = address.partition("@")[0]
            code_file = f"data/code/{name}.json"
            deps = {code_file: codes[code_file], **reads}
            record = {"record.json": {"parameters": parameters}}
            found[address], hashes = self.run(
                address.replace("@", " "), out, deps, parameters, {**files, **record}
            )
            return hashes

        foundation = {"lr": max(lr, 0.01), "seed": seed}
        train = add(
            "train",
            "results/train",
            {},
            {"train": {"lr": lr}, "runtime": {"seed": seed}},
            {"model": foundation, "metrics.json": {"loss": max(lr, 0.01)}},
        )
        model = "results/train/model"
        tuned = {**foundation, "steps": steps}
        tune = add(
            "tune",
            "results/tune",
            {model: train[model]},
            {"tune": {"steps": steps}},
            {"model": tuned, "metrics.json": {"steps": steps}},
        )
        model = "results/tune/model"
        n_right = 3 + 4 * (steps == 20) - (lr < 0.05) + 2 * (shots > 0)
        right = [n < n_right for n in range(10)]
        share = {"value": sum(right) / 10, "low": 0.0, "high": 1.0, "n": 10}
        asked = [
            {"subject": "numbers", "level": None, "question": q, "cloze_right": hit}
            for q, hit in zip(QUESTIONS, right, strict=True)
        ]
        mmlu = add(
            "mmlu@tune",
            "results/mmlu/tune",
            {model: tune[model]},
            {"mmlu": {"shots": shots}, "runtime": {"seed": seed}},
            {"metrics.json": {"cloze": {"all": share}}, "questions.json": asked},
        )
        figures = "results/mmlu/tune/metrics.json"
        row = {"key": "mmlu.tune.cloze", "group": "Cloze questions", "name": "all questions"}
        summary = [{**row, "unit": "share", "figure": share, "against": ""}]
        add(
            "report",
            "results/report",
            {figures: mmlu[figures]},
            {"report": {"title": "toy"}},
            {"summary.json": summary},
        )
        return found

    def commit(self, message: str, stages: dict[str, Any], **edits: str) -> str:
        """Commit a state of the repository, the parameters as its stages had them; its hash."""
        lock = {"schema": "2.0", "stages": stages}
        (self.root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
        values: dict[str, Any] = {}
        for entry in stages.values():
            values |= entry.get("params", {}).get("params.yaml", {})
        (self.root / "params.yaml").write_text(yaml.safe_dump(values))
        for name, text in edits.items():
            (self.root / name.replace("__", ".")).write_text(text)
        self.git("add", "dvc.lock", "dvc.yaml", "params.yaml", "requirements.lock")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def remove(self, md5: str) -> None:
        """Take a file out of the cache."""
        (self.cache / md5[:2] / md5[2:]).unlink()


def out_of(entry: dict[str, Any]) -> str:
    """The hash of what a run left."""
    return entry["outs"][0]["md5"]
