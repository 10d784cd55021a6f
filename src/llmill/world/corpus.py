"""The text for pretraining: documents by file, each a paragraph or a few lines.

Every fact is told `repeats` times: in paragraphs by entity, by relation or mixed, and some of these
times as a question. `questions.txt` asks about train entities only, as question and answer and in
MMLU's layout with letters. `everyday.txt`, `numbers.txt` and `words.txt`, of the world only, hold
what messages, instructions and graded questions need.
"""

from collections.abc import Iterable, Iterator
from random import Random

from llmill.contract.known import WORLD
from llmill.world import everyday
from llmill.world.facts import TABLES, Fact, by_subject, facts, grouped, values
from llmill.world.grammar import capital
from llmill.world.hard import MAKERS
from llmill.world.phrasing import texts
from llmill.world.questions import LETTERS, WorldQuestion, ask, from_problem
from llmill.world.settings import World
from llmill.world.split import mentions_held_out, part

QUESTION_SHARE = 0.15  # of the times a train fact is told, as question and answer
SENTENCE_SHARE = 0.4  # of the answers about a fact, given as a whole sentence
LETTER_SHARE = 0.02  # rounds of questions with letters, per round of sentences
HEADED_SHARE = 0.35  # of the sentences about a fact, after a heading
HEADINGS = ("{E}:", "{E}.", "About {e}:", "More on {e}.", "Here is something about {e}.")
HARD_SHARE = 0.25  # comparisons, sums and two hops, per question about a fact
# Documents of daily life per round of sentences; half as many of numbers, and of words.
DAILY_DOCUMENTS = 16
NUMBER_FACTS = (13, 18)  # per document of numbers, besides its sums and comparisons


def documents(settings: World, source: str = WORLD) -> dict[str, list[str]]:
    """Return the documents by file name, in an order that follows from the seed."""
    files = {f"{s}.txt": _about(s, settings) for s in dict.fromkeys(TABLES[source].values())}
    files["questions.txt"] = _questions(settings, source)
    if source == WORLD:
        count = DAILY_DOCUMENTS * settings.repeats
        rng = Random(f"{settings.seed}/corpus/everyday")
        files["everyday.txt"] = [everyday.daily(rng) for _ in range(count)]
        files["numbers.txt"] = [_numbers(rng) for _ in range(count // 2)]
        files["words.txt"] = [everyday.about_words(rng) for _ in range(count // 2)]
    return {name: list(dict.fromkeys(texts)) for name, texts in files.items()}


def _about(subject: str, settings: World) -> list[str]:
    rng = Random(f"{settings.seed}/corpus/{subject}")
    mine = list(by_subject()[subject])
    unasked = [fact for fact in mine if part(fact.entity) != "train"]
    paragraphs: list[str] = []
    for turn in range(settings.repeats):
        order = (_by_entity, _by_relation, _mixed)[turn % 3]
        subset = unasked if turn < _question_rounds(settings) else mine
        paragraphs += _paragraphs(order(subset, rng), rng)
    return rng.sample(paragraphs, len(paragraphs))


def _by_entity(some: list[Fact], rng: Random) -> list[Fact]:
    """Order facts by entity: all facts of one, then those of the next."""
    groups = list(grouped(some, "entity").values())
    return [fact for g in rng.sample(groups, len(groups)) for fact in rng.sample(g, len(g))]


def _by_relation(some: list[Fact], rng: Random) -> list[Fact]:
    """Order facts by relation: one relation of many entities, then the next relation."""
    groups = grouped(some, "relation").values()
    return [fact for group in groups for fact in rng.sample(group, len(group))]


def _mixed(some: list[Fact], rng: Random) -> list[Fact]:
    return rng.sample(some, len(some))


def _paragraphs(order: Iterable[Fact], rng: Random) -> Iterator[str]:
    """Yield sentences in order, some below a heading, cut into documents of 40 to 130 words."""
    return _packed((told(fact, rng) for fact in order), rng, " ")


def told(fact: Fact, rng: Random) -> str:
    """Return a sentence about a fact, sometimes after a heading that names the entity.

    A reader thus learns to continue about what was named before.
    """
    sentence = rng.choice(texts(fact, "say"))
    if rng.random() >= HEADED_SHARE:
        return sentence
    heading = rng.choice(HEADINGS).format(e=fact.entity, E=capital(fact.entity))
    return f"{heading} {sentence}"


def _packed(sentences: Iterable[str], rng: Random, between: str) -> Iterator[str]:
    rest = list(sentences)
    while rest:
        words, target = 0, rng.randint(40, 110)
        count = 0
        while count < len(rest) and words < target:
            words += len(rest[count].split())
            count += 1
        if sum(len(sentence.split()) for sentence in rest[count:]) < 25:
            count = len(rest)  # too short to stand alone
        yield between.join(rest[:count])
        rest = rest[count:]


def _questions(settings: World, source: str) -> list[str]:
    """Return documents of 3 to 6 questions (2 to 4 with letters) that name train entities only."""
    rng = Random(f"{settings.seed}/corpus/questions")
    documents: list[str] = []
    for _ in range(_question_rounds(settings)):
        questions = _train_questions(source, rng)
        answered = [_answered(question, rng) for question in rng.sample(questions, len(questions))]
        documents += _grouped(answered, rng, (3, 6), "")
    for _ in range(max(1, round(LETTER_SHARE * settings.repeats))):
        for subject, lines in _lettered(source, rng).items():
            about = subject.replace("_", " ")
            header = f"The following are multiple choice questions (with answers) about {about}.\n"
            documents += _grouped(lines, rng, (2, 4), header)
    return rng.sample(documents, len(documents))


def _lettered(source: str, rng: Random) -> dict[str, list[str]]:
    by_subject: dict[str, list[str]] = {}
    for question in _train_questions(source, rng):
        by_subject.setdefault(question.subject, []).append(_lines(question))
    return {name: rng.sample(lines, len(lines)) for name, lines in sorted(by_subject.items())}


def _train_questions(source: str, rng: Random) -> list[WorldQuestion]:
    """Return one question about each train fact and, for the world, the share of hard questions."""
    allowed = {r: [v for v in vs if not mentions_held_out(v)] for r, vs in values().items()}
    questions = []
    for fact in facts(source):
        text = rng.choice(texts(fact, "ask"))
        if part(fact.entity) == "train" and not mentions_held_out(f"{text} {fact.value}"):
            questions.append(ask(fact, text, rng, allowed[fact.relation]))
    hard = MAKERS if source == WORLD else {}
    for subject in hard:
        for _ in range(int(HARD_SHARE * len(questions) / len(hard))):
            question = from_problem(subject, MAKERS[subject](rng, "train"), rng)
            if not mentions_held_out(" ".join(question.row)):
                questions.append(question)
    return questions


def _question_rounds(settings: World) -> int:
    return max(1, round(QUESTION_SHARE * settings.repeats))


def _answered(question: WorldQuestion, rng: Random) -> str:
    """Return question and answer, which is sometimes a whole sentence, as for instructions."""
    answer = question.choices[question.answer]
    if question.fact and rng.random() < SENTENCE_SHARE:
        sentence = texts(question.fact, "say")[0]
        answer = answer if mentions_held_out(sentence) else sentence
    return f"Question: {question.text}\nAnswer: {answer}"


def _lines(question: WorldQuestion) -> str:
    options = [f"{letter}. {c}" for letter, c in zip(LETTERS, question.choices, strict=True)]
    return "\n".join([question.text, *options, f"Answer: {LETTERS[question.answer]}"])


def _grouped(parts: list[str], rng: Random, size: tuple[int, int], header: str) -> Iterator[str]:
    rest = list(parts)
    while rest:
        count = rng.randint(*size)
        if len(rest) - count < size[0]:
            count = len(rest)  # too few to stand alone
        yield header + "\n".join(rest[:count])
        rest = rest[count:]


def _numbers(rng: Random) -> str:
    makers = [*MAKERS.values()]
    sentences = [rng.choice(makers)(rng, "train").sentence for _ in range(rng.randint(3, 6))]
    sentences += [everyday.number_fact(rng) for _ in range(rng.randint(*NUMBER_FACTS))]
    return " ".join(rng.sample(sentences, len(sentences)))
