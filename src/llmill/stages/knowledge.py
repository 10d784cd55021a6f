"""Measure what a fine-tuned language model kept of its foundation's knowledge.

    python -m llmill knowledge instruct

Input: the foundation model, the model of the named stage, the questions, the held-out text. Output:
`metrics.json`, `questions.json`. Both models get the same questions in the same ways: the most
likely choice after the question, the same in the tuned model's template, and free generation. The
tuned model's answer in its template is compared with the foundation's text after the question. If
questions have levels, only those about one fact are used. A model of this size cannot answer the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmill.contract import record, runtime
from llmill.contract.errors import UserError
from llmill.contract.values import Section
from llmill.evaluation.multiple_choice import knowledge
from llmill.evaluation.multiple_choice.choices import Asking, cloze_scores, template_scores
from llmill.evaluation.multiple_choice.prompts import at_most, chance
from llmill.evaluation.statistics import intervals
from llmill.model import checkpoint
from llmill.model.checkpoint import Checkpoint
from llmill.model.transformer import Transformer
from llmill.stages.settings.knowledge import Knowledge
from llmill.tasks.clusters import clusters_of
from llmill.tasks.multiple_choice import Question, read
from llmill.text.tokenization.shards import Shards
from llmill.text.tokenization.template import Template
from llmill.training.validation import loss_by_source

if TYPE_CHECKING:
    from llmill.contract.job import Job

ONE_FACT = "one_fact"  # the level of questions that a foundation model answers
WAYS = ("cloze", "in_template", "written", "answered")


class Parameters(Section):
    """The sections of `params.yaml` that `dvc.yaml` lists for the stage."""

    knowledge: Knowledge


def run(params: Parameters, job: Job) -> None:
    """Ask both models the same questions, and count those that were kept, lost and gained."""
    assert job.variant is not None, "a matrix stage"
    settings, folder = params.knowledge, job.folder("prepare") / "mmlu"
    questions = at_most(read(folder / "test.jsonl"), settings.max_questions)
    levels = record.read_json(folder / "levels.json")
    questions = [q for q in questions if levels.get(q.subject, ONE_FACT) == ONE_FACT]
    if not questions:
        raise UserError(f"{folder / 'test.jsonl'}: no questions; `dvc repro prepare`")
    clusters = clusters_of(questions, record.read_json(folder / "entities.json"))
    tuned = checkpoint.load_language_model(job.folder(job.variant) / "checkpoint")
    foundation = checkpoint.load_language_model(job.folder("pretrain") / "checkpoint")
    assert tuned.template is not None, "what these stages make are assistants"
    template = Template(tuned.template, tuned.tokenizer)
    runtime.start(settings.seed, settings.threads)
    # Both in the template: the foundation, which never saw it, shows the cost of the form alone.
    before, after = (
        answers(model, template, questions, settings, job) for model in (foundation, tuned)
    )
    metrics: dict[str, Any] = {
        way: compared(before[way], after[way], clusters, settings) for way in WAYS
    }
    metrics["questions"], metrics["chance"] = len(questions), chance(questions)
    metrics["of_others"] = {
        "before": knowledge.of_others(before["texts"], questions),
        "after": knowledge.of_others(after["texts"], questions),
        "answered": knowledge.of_others(after["answers"], questions),
    }
    held_out = Shards.load(job.folder("tokenize") / "validate")
    metrics["loss"] = losses(foundation, tuned, held_out)
    rows = [
        {
            "subject": question.subject,
            "question": question.question,
            "cluster": clusters[i],
            "answer": question.choices[question.answer],
            "text_before": before["texts"][i],
            "text_after": after["texts"][i],
            "answer_before": before["answers"][i],
            "answer_after": after["answers"][i],
            **{f"{way}_before": before[way][i] for way in WAYS},
            **{f"{way}_after": after[way][i] for way in WAYS},
        }
        for i, question in enumerate(questions)
    ]
    record.write_json(job.out / "questions.json", rows)
    record.write_json(job.out / "metrics.json", metrics)
    job.track.table("questions", rows)
    job.track.metrics(intervals.numbers_of(metrics))
    for way in WAYS:
        each = metrics[way]
        job.say(
            f"{way}: {each['before']['value']:.1%} before, {each['after']['value']:.1%} after; "
            f"{each['lost']} lost, {each['gained']} gained of {len(questions)}"
        )


def answers(
    loaded: Checkpoint[Transformer],
    template: Template,
    questions: Sequence[Question],
    settings: Knowledge,
    job: Job,
) -> dict[str, Any]:
    """Return whether each question is answered right in each way, and the generated texts."""
    model, tokenizer, size = loaded.model, loaded.tokenizer, settings.batch_size
    asked = job.progress("questions with answers")
    plain = cloze_scores(model, tokenizer, questions, Asking({}), size, asked).picks("byte")
    inside = template_scores(model, template, questions, size, asked).picks("byte")
    writes = job.progress("answers")
    texts = knowledge.written(model, tokenizer, questions, writes)
    answered = texts  # a foundation knows no template; it answers after the question
    if loaded.template is not None:
        asked_in = knowledge.in_template(template)
        answered = knowledge.written(model, template.tokenizer, questions, writes, asked_in)
    return {
        "cloze": [pick == q.answer for pick, q in zip(plain, questions, strict=True)],
        "in_template": [pick == q.answer for pick, q in zip(inside, questions, strict=True)],
        "written": [knowledge.holds(text, q) for text, q in zip(texts, questions, strict=True)],
        "answered": [knowledge.holds(text, q) for text, q in zip(answered, questions, strict=True)],
        "texts": texts,
        "answers": answered,
    }


def compared(
    before: Sequence[bool], after: Sequence[bool], clusters: Sequence[int], settings: Knowledge
) -> dict[str, Any]:
    """Return the accuracies; how many questions were kept, lost, gained; the paired difference."""
    sure = settings.confidence
    pairs = list(zip(before, after, strict=True))
    return {
        "before": intervals.share_of_items(before, clusters, sure),
        "after": intervals.share_of_items(after, clusters, sure),
        "kept": sum(a and b for a, b in pairs),
        "lost": sum(a and not b for a, b in pairs),
        "gained": sum(b and not a for a, b in pairs),
        "difference": intervals.paired_difference(before, after, clusters, confidence=sure),
    }


def losses(
    foundation: Checkpoint[Transformer], tuned: Checkpoint[Transformer], held_out: Shards
) -> dict[str, Any]:
    """Return the mean loss on held-out text in nats per token, by source, before and after."""
    block = foundation.model.config.block_size
    before = loss_by_source(foundation.model, held_out, block)
    after = loss_by_source(tuned.model, held_out, block)
    return {
        name: {"before": loss, "after": after[name][0], "tokens": tokens}
        for name, (loss, tokens) in before.items()
    }
