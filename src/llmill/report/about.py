"""How the report names and shows each stage. A row of `ABOUT` brings a stage onto the page.

The rows are here and not in the stages' modules, because a stage is redone if its code changes: a
changed word of the page would start a training.
"""

from dataclasses import dataclass

PAIRED = "paired on the same texts"


@dataclass(frozen=True)
class Headline:
    """A metric at the top of the page. `against` may name other metrics of the stage in braces:
    `chance {chance}` in the unit of the row, `{cloze.difference:gain}` in a unit of its own and
    with its interval.
    """

    key: str  # machine-readable name, after the stage's
    path: str  # in the stage's `metrics.json`, such as `cloze.after`
    name: str
    unit: str  # a unit of `form.number`
    against: str = ""  # what to compare with


@dataclass(frozen=True)
class Note:
    """A metric below the stage's box in the picture of the chain."""

    path: str
    unit: str
    words: str = ""
    variant: int = -1  # index of the variant; -1: the last


@dataclass(frozen=True)
class About:
    """A stage on the page. Fields left out are not shown. A training's note is its steps."""

    model: str | None = None  # name of the model that it makes
    loss: str | None = None  # unit of its loss
    heading: str = ""  # of its headlines; for a variant, the model's name follows
    headlines: tuple[Headline, ...] = ()
    note: Note | None = None


ABOUT: dict[str, About] = {  # in the order of their headlines
    "pretrain": About(
        model="foundation model",
        loss="nats per token",
        heading="Foundation model, held-out text",
        headlines=(
            Headline("loss", "validation_loss", "loss, nats per token", "nats"),
            Headline("bits_per_byte", "bits_per_byte", "bits per byte", "bits"),
            Headline("perplexity", "perplexity", "perplexity", "plain"),
        ),
    ),
    "signals": About(
        heading="Foundation model, metrics that tell small models apart",
        headlines=(
            Headline(
                "bits_per_byte",
                "bits_per_byte.all",
                "bits per byte, held-out documents",
                "bits",
                "unigram {bits_per_byte.unigram}, gzip {bits_per_byte.gzip}",
            ),
            Headline(
                "last_words",
                "last_words.accuracy",
                "last words of held-out documents, accuracy",
                "share",
                "from three words only {last_words.near.accuracy}, "
                "bigram {last_words.bigram.accuracy}",
            ),
            Headline(
                "memorised",
                "memorisation.difference.tokens",
                "reproduced tokens, training minus held-out text, points",
                "gain",
            ),
            Headline(
                "distinct_3",
                "samples.written.distinct_3",
                "distinct 3-grams of tokens in samples",
                "share",
                "held-out text {samples.held_out.distinct_3}",
            ),
            Headline(
                "minimal_pairs",
                "minimal_pairs.model",
                "minimal pairs, accuracy",
                "share",
                "unigram {minimal_pairs.unigram}",
            ),
        ),
        note=Note("minimal_pairs.model", "share", "pairs"),
    ),
    "mmlu": About(note=Note("cloze.all", "share", variant=0)),
    "accuracy": About(),
    "judge": About(note=Note("exact_match", "share", "exact")),
    "grader": About(
        loss="squared error",
        heading="Embedded judge, answers with a known score",
        headlines=(
            Headline(
                "above_another",
                "above_another",
                "references ranked above another task's reference",
                "share",
                "chance 50.0 %",
            ),
            Headline(
                "paraphrases_right",
                "paraphrases_right",
                "pairs of any two tasks with a paraphrase ranked above a wrong answer",
                "share",
                "ROUGE-L {paraphrases_rouge_l}",
            ),
        ),
    ),
    "prefer": About(
        model="preference-tuned model",
        loss="nats per pair",
        heading="Preferences, test pairs",
        headlines=(
            Headline(
                "accuracy",
                "accuracy",
                "chosen answer has the higher reward",
                "share",
                "longer answer {beside.longer_answer}, likelihood alone before training "
                "{beside.likelihood_before}",
            ),
            Headline("drift", "kl", "drift on validation prompts, nats per answer", "nats"),
        ),
    ),
    "knowledge": About(
        heading="Knowledge kept after tuning",
        headlines=(
            Headline(
                "cloze",
                "cloze.after",
                "cloze, behind the question",
                "share",
                "before tuning {cloze.before}, difference {cloze.difference:gain} points",
            ),
            Headline(
                "written",
                "written.after",
                "written freely behind the question",
                "share",
                "before tuning {written.before}, difference {written.difference:gain} points, "
                "another question's text {of_others.after}",
            ),
            Headline(
                "in_template",
                "in_template.after",
                "cloze, in the assistant's template",
                "share",
                "before tuning {in_template.before}, difference {in_template.difference:gain} "
                "points",
            ),
            Headline(
                "answered",
                "answered.after",
                "answered in the template, against written behind the question",
                "share",
                "before tuning {answered.before}, difference {answered.difference:gain} points, "
                "another question's answer {of_others.answered}",
            ),
        ),
    ),
    "contamination": About(note=Note("overlapping", "count", "overlap")),
    "instruct": About(model="instruct model", loss="nats per trained token"),
    "classify": About(loss="nats per message"),
    "prepare": About(note=Note("text.train_documents", "count", "texts")),
    "tokenizer": About(note=Note("n_vocab", "count", "tokens")),
    "tokenize": About(note=Note("train.tokens", "short", "tokens")),
}
NOTHING = About()


def about(stage: str) -> About:
    """Return a stage's row of `ABOUT`, or an empty one."""
    return ABOUT.get(stage, NOTHING)


def model_name(stage: str) -> str:
    """Return a name for the model that a stage makes."""
    return about(stage).model or stage.replace("_", " ")


def loss_label(stage: str) -> str:
    """Return the axis label of a stage's loss, with its unit."""
    unit = about(stage).loss
    return f"loss, {unit}" if unit else "loss"
