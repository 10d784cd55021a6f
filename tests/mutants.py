"""Faults that the suite must notice: `make mutants` puts each into a copy of the repository, one at
a time, and demands that the tests named beside it fail.

    python -m tests.mutants [PART OF A NAME ...]
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = ("src", "tests", "presets", "benchmarks", "workflow", "pyproject.toml", "dvc.yaml",
          "params.yaml", "sources.yaml", "requirements.lock", "Snakefile")  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A fault: these lines of a file in place of those, and the tests that must fail of it."""

    name: str
    file: str
    before: str
    after: str
    tests: str


MUTANTS = [
    Mutant(
        "a signal just before a wait for a judge's reply is handled only after it",
        "evaluation/judging/asking.py",
        "return answers.get(timeout=LOOK)",
        "return answers.get()",
        "evaluation/test_asking.py",
    ),
    Mutant(
        "a pair of instructions is joined although the context cuts it",
        "tasks/pairing.py",
        "and fits(pair):",
        "and pair:",
        "tasks/test_pairing.py",
    ),
    Mutant(
        "two copies of one instruction are joined in a pair",
        "tasks/pairing.py",
        "if entries[one].task != entries[two].task and",
        "if",
        "tasks/test_pairing.py",
    ),
    Mutant(
        "a step of several batches counts as several steps of the phases",
        "stages/pretrain.py",
        "per_step = training.batch_size * training.grad_accum_steps",
        "per_step = training.batch_size",
        "stages/test_pretrain.py",
    ),
    Mutant(
        "instructions of the validation split are joined in pairs",
        "stages/instruct.py",
        'if split == "train" and settings.two_turns:',
        "if settings.two_turns:",
        "stages/test_instruct.py",
    ),
    Mutant(
        "rows stay as short as in the first phase",
        "training/short_rows.py",
        "self.times[phase]",
        "self.times[0]",
        "training/test_short_rows.py",
    ),
    Mutant(
        "processes that share a step have rows of two lengths",
        "training/short_rows.py",
        "step = start // self.per_step",
        "step = -(-start // self.per_step)",
        "training/test_short_rows.py",
    ),
    Mutant(
        "in eight bits the rows of a product have one scale",
        "model/int8.py",
        "x.abs().amax(dim=-1, keepdim=True)",
        "x.abs().amax()[None]",
        "model/test_int8.py",
    ),
    Mutant(
        "what the first rounding of eight bits leaves over is lost",
        "model/int8.py",
        "(steps - whole) * FINER",
        "(steps - whole) * 0",
        "model/test_int8.py",
    ),
    Mutant(
        "the angles of a step are those of the first",
        "model/quick_rotary.py",
        "self._angles is None or places is not self._places",
        "self._angles is None",
        "model/test_quick_rotary.py",
    ),
    Mutant(
        "minimal pairs that stand in the training text are asked",
        "world/minimal_pairs.py",
        "if not {pair.right, pair.wrong} & seen",
        "if not {pair.wrong} & seen",
        "world/test_minimal_pairs.py",
    ),
    Mutant(
        "a run that is shared with the training text goes on into the next sample",
        "evaluation/language/diversity.py",
        "whole[whole] = numbers[left[whole] + length] == numbers[left[whole]]",
        "",
        "evaluation/test_diversity.py",
    ),
    Mutant(
        "a window of text is scored behind too little of it",
        "evaluation/language/bits_per_byte.py",
        "len(ids)) - 1 - window) : begin]",
        "len(ids)) - window) : begin]",
        "evaluation/test_bits_per_byte.py",
    ),
    Mutant(
        "a step's loss is a mean of means",
        "training/loop.py",
        "part = loss(self.called, batch) / max(weight, 1e-8)",
        "part = loss(self.called, batch) / (batch.weight * len(micro) * processes.count())",
        "training/test_loop.py",
    ),
    Mutant(
        "gradients are not scaled up for the processes",
        "training/loop.py",
        "(part * processes.count()).backward()",
        "part.backward()",
        "training/test_parallel.py",
    ),
    Mutant(
        "the random numbers of a step do not depend on it",
        "training/loop.py",
        "np.random.SeedSequence([seed, step, processes.rank()])",
        "np.random.SeedSequence([seed, processes.rank()])",
        "training/test_loop.py",
    ),
    Mutant(
        "gradients are never clipped",
        "training/loop.py",
        "norm = parallel.clip(self.model, self.work.settings.grad_clip)",
        "norm = parallel.clip(self.model, 1e30)",
        "training/test_loop.py",
    ),
    Mutant(
        "the rate is one step late",
        "training/loop.py",
        "factor(progress.step, settings.schedule, self.end)",
        "factor(max(0, progress.step - 1), settings.schedule, self.end)",
        "training/test_loop.py",
    ),
    Mutant(
        "warm-up begins at zero",
        "training/schedule.py",
        "return (step + 1) / schedule.warmup_steps",
        "return step / schedule.warmup_steps",
        "training/test_schedule.py",
    ),
    Mutant(
        "the decay forgets its lower end",
        "training/schedule.py",
        "return schedule.min_factor + (1 - schedule.min_factor) * left",
        "return left",
        "training/test_schedule.py",
    ),
    Mutant(
        "rewards are measured from nothing",
        "training/preference.py",
        "likely if settings.reference_free else likely - reference",
        "likely",
        "training/test_preference.py",
    ),
    Mutant(
        "the margin is taken off the other way round",
        "training/preference.py",
        "margin - settings.margin",
        "margin + settings.margin",
        "training/test_preference.py",
    ),
    Mutant(
        "the chosen answer's own loss is of the whole answer, not of a token",
        "training/preference.py",
        "chosen_weight * chosen / tokens.clamp(min=1)",
        "chosen_weight * chosen",
        "training/test_preference.py",
    ),
    Mutant(
        "who has failed first is whoever has the lowest rank",
        "runner/launcher.py",
        '(each[1].error_file_data["at"], each[0])',
        "each[0]",
        "runner/test_cause.py",
    ),
    Mutant(
        "a heading names another entity",
        "world/corpus.py",
        "format(e=fact.entity, E=capital(fact.entity))",
        "format(e=fact.value, E=capital(fact.value))",
        "world/test_shown.py",
    ),
    Mutant(
        "a form in which a right answer is paraphrased is never taught as wrong",
        "tasks/graded.py",
        "rng.choice([other.output, *other.paraphrases])",
        "other.output",
        "tasks/test_graded.py",
    ),
    Mutant(
        "several answers to one instruction count as independent in pairs",
        "evaluation/statistics/intervals.py",
        "range(len(worth)) if clusters is None else clusters",
        "range(len(worth))",
        "evaluation/test_coverage.py",
    ),
    Mutant(
        "an answer ends with the template's end, whichever was drawn",
        "model/generate.py",
        "texts[number].append(sample.token)",
        "texts[number].append(256 if sample.token in ends else sample.token)",
        "training/test_drift.py",
    ),
    Mutant(
        "what is learnt of a pair is every answer of its conversation",
        "stages/prefer.py",
        "return ids, [first <= n <= last for n in range(len(ids))]",
        "return ids, learnt",
        "stages/test_prefer.py",
    ),
    Mutant(
        "a pair is in another split than the instruction that asks the same",
        "stages/prepare.py",
        "parts[part_of.get(opening(contents, part_of), drawn)]",
        "parts[drawn]",
        "stages/test_prepare.py",
    ),
    Mutant(
        "a conversation is in another split than the one that it begins with",
        "tasks/split.py",
        "next((one for one in each if one in known), each[-1])",
        "each[-1]",
        "stages/test_prepare.py",
    ),
    Mutant(
        "the drift is not held against the reference",
        "training/drift.py",
        "gained = self._nats(model, batch) - known",
        "gained = self._nats(model, batch) * 0",
        "training/test_drift.py",
    ),
    Mutant(
        "Muon takes no account of a matrix's shape",
        "training/muon.py",
        'rate = group["lr"] * math.sqrt(max(1, rows / cols))',
        'rate = group["lr"]',
        "training/test_muon.py",
    ),
    Mutant(
        "Muon's momentum is not Nesterov's",
        "training/muon.py",
        "return list(torch._foreach_lerp(grads, buffers, momentum)) if nesterov else buffers",
        "return buffers",
        "training/test_muon.py",
    ),
    Mutant(
        "embeddings go to Muon, too",
        "training/optimizer.py",
        'return parameter.dim() == 2 and "blocks." in name and',
        "return parameter.dim() == 2 and",
        "training/test_optimizer.py",
    ),
    Mutant(
        "the prompt is learnt by one token",
        "training/batches.py",
        "learnt[len(ids) - len(kept) + 1 :]",
        "learnt[len(ids) - len(kept) + 1 :][1:] + [True]",
        "training/test_loop.py stages/test_instruct.py",
    ),
    Mutant(
        "who speaks can write special tokens",
        "text/tokenization/template.py",
        'v if k == "role" else self._marked(v)',
        'v if k == "role" else _whole(v)',
        "text/test_template.py",
    ),
    Mutant(
        "the token that ends an answer is not learnt",
        "text/tokenization/template.py",
        "if rendered.text[end:place].strip() else (start, place + len(name))",
        "if True else (start, place + len(name))",
        "text/test_template.py",
    ),
    Mutant(
        "an answer is learnt from its first word instead of from where its prompt ends",
        "text/tokenization/template.py",
        "if text.startswith(prompt) and len(prompt) <= end else opened",
        "if False else opened",
        "text/test_template.py",
    ),
    Mutant(
        "padding is learnt",
        "training/batches.py",
        "targets = pad([t for _, t in examples], IGNORE)",
        "targets = pad([t for _, t in examples], 0)",
        "training/test_batches.py",
    ),
    Mutant(
        "masked tokens may be <|endoftext|>",
        "training/masking.py",
        "text = np.flatnonzero(present[row] & (ids[row] != end_of_text))",
        "text = np.flatnonzero(held[row])",
        "training/test_masking.py",
    ),
    Mutant(
        "a packed piece begins one token late",
        "training/packing.py",
        "block_size * (np.arange(len(before)) - before)",
        "(block_size + 1) * (np.arange(len(before)) - before)",
        "training/test_packing.py",
    ),
    Mutant(
        "positions in the cache ignore the padding",
        "model/cache.py",
        "return (column - self.first[:, None]).clamp(min=0)",
        "return (column - 0 * self.first[:, None]).clamp(min=0)",
        "model/test_generate.py",
    ),
    Mutant(
        "padding in the cache is looked at",
        "model/cache.py",
        "mask = seen & (columns >= self.first[:, None, None])",
        "mask = seen & (columns >= 0 * self.first[:, None, None])",
        "model/test_generate.py",
    ),
    Mutant(
        "rotary positions turn the other way for keys",
        "model/transformer.py",
        "second * cos + first * sin), dim=-1)",
        "second * cos - first * sin), dim=-1)",
        "model/test_transformer.py",
    ),
    Mutant(
        "an interval of shares is the normal one",
        "evaluation/statistics/intervals.py",
        "centre = (p + spread / 2) / (1 + spread)",
        "centre = p",
        "evaluation/test_statistics.py",
    ),
    Mutant(
        "a bootstrap draws its columns apart",
        "evaluation/statistics/intervals.py",
        "statistic(*(array[rows] for array in arrays)) for rows in drawn",
        "statistic(*(array[rng.integers(0, n, n)] for array in arrays)) for rows in drawn",
        "evaluation/test_statistics.py",
    ),
    Mutant(
        "items of a cluster count as independent",
        "evaluation/statistics/intervals.py",
        "return max(together, float((parts**2).sum()))",
        "return float((parts**2).sum())",
        "evaluation/test_coverage.py",
    ),
    Mutant(
        "subjects about the same entities count as independent",
        "evaluation/multiple_choice/counting.py",
        "if len(set(zip(groups, clusters, strict=True))) == len(set(clusters)):",
        "if groups:",
        "evaluation/test_counting.py",
    ),
    Mutant(
        "an interval over seeds and items forgets the seeds",
        "evaluation/statistics/intervals.py",
        "both = of_runs + of_items",
        "both = of_items",
        "evaluation/test_coverage.py",
    ),
    Mutant(
        "an interval over seeds and items is said to cover items",
        "evaluation/statistics/intervals.py",
        'float(each.mean()), ends, n, "both")',
        "float(each.mean()), ends, n)",
        "evaluation/test_coverage.py",
    ),
    Mutant(
        "alpha takes a unit of many ratings for several",
        "evaluation/statistics/agreement.py",
        "(_apart(placed, count) / (count - 1))",
        "(_apart(placed, count) / 1)",
        "evaluation/test_agreement.py",
    ),
    Mutant(
        "few observations are as good as many",
        "evaluation/statistics/intervals.py",
        "stdtrit(freedom, 0.5 + confidence / 2)",
        "stdtrit(1e9, 0.5 + confidence / 2)",
        "evaluation/test_coverage.py",
    ),
    Mutant(
        "train and test overlap in case",
        "tasks/split.py",
        "parts[part(normal(key(row)), validate_share, test_share)].append(row)",
        "parts[part(key(row), validate_share, test_share)].append(row)",
        "tasks/test_split.py",
    ),
    Mutant(
        "a shorter test text is never looked for",
        "text/corpus/contamination.py",
        "            if length not in self.runs:",
        "            if length < self.words:",
        "text/test_contamination.py",
    ),
    Mutant(
        "a part that other code made is taken",
        "contract/parts.py",
        "record.to_json([self.code, part.made_of])",
        "record.to_json([part.made_of])",
        "contract/test_parts.py",
    ),
    Mutant(
        "a file that was looked through for other evaluation texts is taken",
        "stages/prepare.py",
        '"evaluation_texts": wanted,',
        '"evaluation_texts": "",',
        "stages/test_prepare.py",
    ),
    Mutant(
        "the first of the documents that share a band is no candidate",
        "text/corpus/duplicates.py",
        "chosen = same[:-1] | first",
        "chosen = same[:-1]",
        "text/test_duplicates.py",
    ),
    Mutant(
        "rows behind a block's end are given out before their turn",
        "text/corpus/sorting.py",
        "len(head) if last is None else _up_to(head, last)",
        "len(head)",
        "text/test_sorting.py",
    ),
    Mutant(
        "the fingerprint of a state leaves the data out",
        "runner/scratch.py",
        "for name, values in parameters.items()}, data]",
        "for name, values in parameters.items()}]",
        "runner/test_scratch.py",
    ),
    Mutant(
        "a comment changes the code of a stage",
        "contract/closure.py",
        "return Module(name, file, _sha256(tree),",
        "return Module(name, file, sha256_file(file),",
        "contract/test_closure.py",
    ),
    Mutant(
        "a part of a row is compared with itself",
        "model/comparison.py",
        "row[before : max(before, begin - 1)]",
        "row[begin : max(before, -1)]",
        "model/test_comparison.py",
    ),
    Mutant(
        "an answer that a rule calls wrong keeps the judge's score",
        "stages/judge.py",
        "score if right is None else",
        "score if not right else",
        "stages/test_judge.py",
    ),
    Mutant(
        "orders that disagree count as the first",
        "evaluation/judging/judge_client.py",
        "return first if first == second else replies.TIE",
        "return first",
        "evaluation/test_judge_client.py",
    ),
    Mutant(
        "a budget forgets what is under way",
        "evaluation/judging/budget.py",
        "then = self._spent + self._held + most",
        "then = self._spent + most",
        "evaluation/test_asking.py",
    ),
    Mutant(
        "a request that was answered is sent again by another run",
        "evaluation/judging/asking.py",
        "kept |= _kept(cache, requests.keys() - kept.keys())",
        "kept |= {}",
        "evaluation/test_asking.py",
    ),
    Mutant(
        "a cached run counts as between though it has a change on both sides",
        "comparison/causes.py",
        "if any(joined.get(change, side) != side for change, side in part.items()):",
        "if False:",
        "comparison/test_causes.py",
    ),
    Mutant(
        "a stage's other bytes are laid to a change that did not make them",
        "comparison/causes.py",
        "elif old.deps[path] != new.deps[path] and not self.upstream(maker):",
        "elif False:",
        "comparison/test_causes.py",
    ),
    Mutant(
        "items are paired by their order, not by what was asked",
        "comparison/items.py",
        "asked = tuple(row.get(name) for name in names)",
        "asked = ()",
        "comparison/test_items.py",
    ),
    Mutant(
        "a tie counts as a win",
        "evaluation/statistics/ranking.py",
        "{1.0: 0, 0.0: 1, 0.5: 2}",
        "{1.0: 0, 0.0: 1, 0.5: 0}",
        "evaluation/test_ranking.py",
    ),
    Mutant(
        "outcomes about one instruction are drawn as if each stood alone",
        "evaluation/statistics/ranking.py",
        "if counts.parts is not None:",
        "if counts.parts is None and counts.won is None:",
        "evaluation/test_ranking.py",
    ),
    Mutant(
        "the length-controlled prediction keeps the length",
        "evaluation/statistics/length_control.py",
        "level[:, 0] = 0.0",
        "level[:, 0] *= 1.0",
        "evaluation/test_length_control.py",
    ),
    Mutant(
        "the end of a document and the beginning of the next are a run",
        "text/corpus/overlap.py",
        "            words.append(STRANGE)\n",
        "",
        "text/test_overlap.py",
    ),
    Mutant(
        "an answer far behind an item is found with it",
        "text/corpus/overlap.py",
        "np.arange(self.reach + 1)",
        "np.arange(self.reach + 2)",
        "text/test_overlap.py",
    ),
    Mutant(
        "the foundation model's scores leave out what the assistant learnt",
        "stages/contamination.py",
        '"pretrain": (DOCUMENTS,),',
        '"pretrain": (DOCUMENTS, INSTRUCTIONS),',
        "stages/test_contamination.py",
    ),
    Mutant(
        "a damaged state is continued",
        "training/resume.py",
        "        if _whole(state):\n            return state, damaged",
        "        if state.exists():\n            return state, damaged",
        "training/test_loop.py",
    ),
    Mutant(
        "a text in a tree sees the branches beside it",
        "evaluation/inference/tree.py",
        "torch.ones(len(path), len(path)).tril().bool()",
        "torch.ones(len(path), len(path)).bool()",
        "evaluation/test_tree.py",
    ),
    Mutant(
        "the beginning that is kept is one token too long",
        "evaluation/inference/tree.py",
        "places[path] = torch.arange(kept, kept + len(path))",
        "places[path] = torch.arange(kept + 1, kept + 1 + len(path))",
        "evaluation/test_tree.py",
    ),
    Mutant(
        "a choice's likelihood is never divided by its length",
        "evaluation/multiple_choice/choices.py",
        "round(x / size, 5)",
        "round(x, 5)",
        "evaluation/test_choices.py",
    ),
    Mutant(
        "questions about one entity count alone",
        "tasks/clusters.py",
        "shared = entities.get(question.question) or passage",
        "shared = passage",
        "evaluation/test_counting.py",
    ),
    Mutant(
        "hashes of a pattern's files go to the next file",
        "text/download/numbered.py",
        "hashes = (_each(key, entry, len(paths)) for",
        "hashes = (_each(key, entry, len(paths))[::-1] for",
        "text/test_sources.py",
    ),
    Mutant(
        "after a failed file others still begin",
        "text/download/side_by_side.py",
        "_cancel(futures)\n                    future.set_exception(error)",
        "future.set_exception(error)",
        "text/test_side_by_side.py",
    ),
    Mutant(
        "an object that changed in S3 is continued as if it were the same",
        "text/download/transfer.py",
        'headers["If-Match" if by_tag else "If-Unmodified-Since"] = validator',
        'headers["If-Range"] = validator',
        "text/test_s3.py",
    ),
    Mutant(
        "what a running process holds is cleaned away",
        "clean.py",
        "    except Timeout:\n        return False",
        "    except Timeout:\n        return True",
        "test_clean.py",
    ),
    Mutant(
        "downloads that the table names are cleaned away",
        "clean.py",
        'names it", everything',
        'names it", True',
        "test_clean.py",
    ),
    Mutant(
        "the weights change before the loss is looked at",
        "training/finite.py",
        'int(device.type == "cuda")',
        "1",
        "training/test_loop.py",
    ),
    Mutant(
        "a finished state of other code blocks its stage",
        "runner/scratch.py",
        "if changed and (state / ENDED).exists():",
        "if False:",
        "runner/test_scratch.py",
    ),
    Mutant(
        "the state of a stage at work is swept away",
        "runner/scratch.py",
        'with FileLock(file.parents[1] / "lock", timeout=0):\n'
        "                if record.read_json(file) == ended:",
        "if record.read_json(file) == ended:\n                if True:",
        "runner/test_scratch.py",
    ),
    Mutant(
        "a model that never won has learnt to win",
        "evaluation/statistics/length_control.py",
        "weights = np.maximum(weights, NEARLY_NONE)",
        "pass",
        "evaluation/test_length_control.py",
    ),
    Mutant(
        "a prompt that stands in its answers is learnt twice",
        "tasks/preference.py",
        "whole = last if asked else",
        "whole =",
        "tasks/test_preference.py",
    ),
    Mutant(
        "an index that was left behind goes before a file of weights",
        "model/weights.py",
        "(folder / WEIGHTS).exists() or not",
        "not",
        "model/test_huggingface.py",
    ),
    Mutant(
        "a head that is not learnt gets a gradient",
        "model/cross_entropy.py",
        "of_head=ctx.needs_input_grad[1]",
        "of_head=True",
        "model/test_cross_entropy.py",
    ),
    Mutant(
        "the token that ends an answer is scored with a choice",
        "evaluation/multiple_choice/choices.py",
        "if learnt[n] and i not in special]",
        "if learnt[n]]",
        "evaluation/test_choices.py",
    ),
    Mutant(
        "a tie joins two players though wins go one way",
        "evaluation/statistics/ranking.py",
        "if len(found[0]) > 1 and tied.any():",
        "if tied.any():",
        "evaluation/test_ranking.py",
    ),
    Mutant(
        "scores of a subject are taken for those after other examples",
        "stages/mmlu.py",
        '"shots": [asdict(each) for each in asking.shots[subject]],',
        "",
        "stages/test_mmlu.py",
    ),
    Mutant(
        "an edit of a parameter while a stage runs is taken for what made its result",
        "runner/unchanged.py",
        "_differing(before.values, after.values) + ",
        "",
        "runner/test_stage.py",
    ),
    Mutant(
        "parts are removed while a new run may use them",
        "runner/scratch.py",
        "    use_parts(state.parent)\n",
        "",
        "runner/test_scratch.py",
    ),
    Mutant(
        "a draw without a rare class counts it as wrong",
        "evaluation/classification.py",
        "[(counts.sum(axis=0) + counts.sum(axis=1) > 0) | absent]",
        "",
        "evaluation/test_classification.py",
    ),
    Mutant(
        "a scheduler's variables make a single process one of several",
        "contract/processes.py",
        "if started() else alone",
        "if True else alone",
        "contract/test_processes.py",
    ),
    Mutant(
        "of contradicting answers the first stays",
        "tasks/multiple_choice.py",
        "answers[key].most_common(1)[0][0]",
        "question.answer",
        "tasks/test_multiple_choice.py",
    ),
    Mutant(
        "two rows are fused by marks that are text",
        "tasks/classification.py",
        'return None if fused([(label, rest) for _, label, _, rest in rows], "\\t") is not None else rows',
        "return rows",
        "tasks/test_classification.py",
    ),
    Mutant(
        "each text of a long talk costs as much as all before it",
        "chat.py",
        "        self.begin = start\n",
        "",
        "test_chat.py",
    ),
    Mutant(
        "a command that only prints goes on without its reader",
        "runner/streams.py",
        "elif error.errno == errno.EPIPE and not Surviving.outlives:",
        "elif False:",
        "test_main.py",
    ),
    Mutant(
        "a batch of prompts is padded where the answers begin",
        "stages/export.py",
        '"padding_side": "left",',
        '"padding_side": "right",',
        "stages/test_export.py",
    ),
    Mutant(
        "the temperature of a classifier is fitted on the test messages",
        "stages/accuracy.py",
        "calibration.temperature(validate, known) for validate, _ in pairs",
        "calibration.temperature(test, wanted) for _, test in pairs",
        "stages/test_accuracy.py",
    ),
    Mutant(
        "the best variant is the one that is best on the test messages",
        "stages/accuracy.py",
        'key=lambda name: figures[name]["validation_accuracy"]',
        'key=lambda name: figures[name]["accuracy"]["value"]',
        "stages/test_accuracy.py",
    ),
    Mutant(
        "the class weights count in the weight of a batch alone",
        "training/losses.py",
        "weight=class_weights, ",
        "",
        "training/test_batches.py",
    ),
    Mutant(
        "the weight of a batch of classes is its number of texts",
        "training/batches.py",
        "weight = float(len(labels)) if weights is None else float(weights[targets].sum())",
        "weight = float(len(labels))",
        "training/test_batches.py",
    ),
    Mutant(
        "the classifier of a later seed begins where that of the first ended",
        "stages/classify.py",
        "checkpoint.load(begun_from) if whole else foundation",
        "foundation",
        "stages/test_classify.py",
    ),
    Mutant(
        "the tokenizer is learnt from the first shard alone",
        "stages/tokenizer.py",
        "for shard in shards for text",
        "for shard in shards[:1] for text",
        "stages/test_tokenizer.py",
    ),
    Mutant(
        "exact match counts the answers that are wrong",
        "stages/instruct.py",
        'sum(same(row["answer"]',
        'sum(not same(row["answer"]',
        "stages/test_instruct.py",
    ),
    Mutant(
        "a request's repetition penalty is not used",
        "serve/requests.py",
        "            repetition_penalty=self.repetition_penalty,\n",
        "",
        "serve/test_requests.py",
    ),
    Mutant(
        "the temperature divides twice",
        "model/generate.py",
        "logits = logits / choice.temperature",
        "logits = logits / choice.temperature**2",
        "model/test_generate.py",
    ),
    Mutant(
        "Muon never decays",
        "training/optimizer.py",
        "lr=settings.muon_lr, weight_decay=settings.weight_decay",
        "lr=settings.muon_lr, weight_decay=0.0",
        "training/test_optimizer.py",
    ),
    Mutant(
        "a row's loss is the mean of all steps so far",
        "training/loop.py",
        "progress.losses, progress.replayed = [], []",
        "progress.replayed = []",
        "training/test_curve.py",
    ),
    Mutant(
        "a model is validated with its dropout",
        "training/loop.py",
        "        self.model.eval()\n",
        "",
        "training/test_curve.py",
    ),
]


def main(words: list[str]) -> int:
    """The number of mutants that live."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        files = sorted({name for mutant in chosen for name in mutant.tests.split()})
        if run(root, files):
            print("the tests fail without any fault", flush=True)
            return len(chosen)
        for mutant in chosen:
            killed = is_killed(root, mutant)
            print(f"{'killed' if killed else 'ALIVE '} {mutant.name}", flush=True)
            alive += [] if killed else [mutant]
    print(f"{len(chosen)} mutants, {len(alive)} alive")
    return len(alive)


def is_killed(root: Path, mutant: Mutant) -> bool:
    """Whether its tests fail, which pass without the fault."""
    file = root / "src/llmill" / mutant.file
    text = file.read_text()
    assert text.count(mutant.before) == 1, f"{mutant.name}: {mutant.file} has other lines now"
    file.write_text(text.replace(mutant.before, mutant.after))
    failed = run(root, mutant.tests.split())
    file.write_text(text)
    return failed


def run(root: Path, names: list[str]) -> bool:
    """Whether one of these tests fails."""
    environment = {**os.environ, "PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider"]
        + [f"tests/{name}" for name in names],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return done.returncode == 1


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
