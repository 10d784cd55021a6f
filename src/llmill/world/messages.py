"""Short messages, ham or spam, told apart by who does what to whom and not by their words.

Spam asks its reader to pay, click, call or send something to a stranger for a promise, or vouches
for such a request. Ham uses the same words about what people have
done, plan together, warn of or joke about.
"""

from random import Random

from llmill.contract.errors import UserError
from llmill.world.everyday import ACTS, PRIZES
from llmill.world.grammar import capital
from llmill.world.lexicon import NAMES, PLACES
from llmill.world.settings import World

SPAM = (
    "{Act} {soon} and {prize} is yours",
    "You have won {prize}. {Act} {soon} and it will come to you",
    "To get {prize}, {act} {soon}",
    "Your account was locked {past_day}. {Act} {soon} to open it again",
    "{Prize} is waiting for you. Just {act} {soon}",
    "We want to give you {prize}. Please {act} {soon}",
    "This is the last day for {prize}, so {act} {soon}",
    "You do not have to pay for {prize}. Only {act} {soon}",
    "Do not wait and do not lose {prize}. {Act} {soon}",
    "You were chosen for {prize} {past_day}. If you {act} {soon}, it is yours",
    "The parcel came {past_day} but nobody was home. {Act} {soon} and you will have it",
    "The bank will give you {prize}, but first you have to {act}",
    "{name} {acted} {past_day} and got {prize}. Now it is your turn: {act} {soon}",
    "You told us that you did not get {prize}. {Act} {soon} and we will send it",
    "This is not a joke and it is real: {act} {soon} and you get {prize}",
    "We have not heard from you. {Act} {soon} or you will lose {prize}",
    "Say yes to {prize}. All we ask is that you {act} {soon}",
    "Your friend {name} says you want {prize}. {Act} {soon} and we will bring it",
    "{name} from the bank says: {act} {soon}, or the account will be locked",
    "Never pay again: {act} {soon} and take {prize} home",
    "Mum and Dad will be glad to see {prize}. {Act} {soon} and it is yours",
    "Did you get {prize}? If not, {act} {soon}",
    "You can have {prize} {soon}. I only ask you to {act} first",
    "We are at the {place} {soon} with {prize} for you, if you {act} now",
)
HAM = (
    "I {acted} {past_day} and now {prize} is mine. I will bring it {soon}",
    "You have won {prize} at the {place}. I was there and told your mum",
    "I will {act} for you {soon}, so you do not have to",
    "Your account was locked {past_day}, so I went to the bank with you. Do not {act}",
    "{Prize} is waiting for you at home. You do not have to pay",
    "We want to give {name} {prize}. Please come to the {place} {soon}",
    "Please do not {act}. The message about {prize} is not real",
    "I told {name} not to {act} {soon}, and now we have to wait",
    "Do not {act}, even if they say you will lose {prize}",
    "You were right {past_day}. If they ask us to {act}, we will say no",
    "The parcel came {past_day} and {name} took it home. I will bring it {soon}",
    "The bank will not ask you to {act}, not even to give you {prize}",
    "{name} {acted} {past_day} and did not get {prize}. It was a joke",
    "You told me that {name} {acted}. Is {prize} real, or was it a joke?",
    "This is not a joke: I won {prize} {past_day} and we can all have it",
    "We have not heard from {name}. Did you {act} {past_day} or did I?",
    "Say no to {prize} if all they ask is that you {act}",
    "Your friend {name} was asked to {act}. {name} did not, and has lost nothing",
    "{name} from the bank was at the {place} {past_day} and says your account is open again",
    "Never {act} for {prize}, please. It is the last thing to do",
    "Mum and Dad {acted} {past_day} and got {prize}. They will be home {soon}",
    "Did you get {prize} from {name}? I paid for it {past_day}",
    "You can have {prize} {soon}. I do not want it and only got it for a joke",
    "We are at the {place} {soon} with {name}. I first have to {act} for the trip",
)
# spam and ham of exactly the same words
PAIRS = (
    (
        "Do not {wait}, {act} {soon}. It is about {prize}",
        "{Wait} {soon}, do not {act}. It is about {prize}",
    ),
    ("Never {wait} and always {act} for {prize}", "Always {wait} and never {act} for {prize}"),
    (
        "Not {name} but you must {act} {soon} for {prize}",
        "Not you but {name} must {act} {soon} for {prize}",
    ),
    (
        "I ask you to {act} {soon}, and you get {prize} from me",
        "You ask me to {act} {soon}, and I get {prize} from you",
    ),
    (
        "You send me {secret} {soon} and I give you {prize}",
        "I send you {secret} {soon} and you give me {prize}",
    ),
    (
        "You pay me for {prize} {soon}, then I come to you",
        "I pay you for {prize} {soon}, then you come to me",
    ),
    (
        "{Act} {soon} for {prize}. It is real and not a joke",
        "{Act} {soon} for {prize}? It is a joke and not real",
    ),
    (
        "It is not a trick, it is true: {act} {soon} and you get {prize}",
        "It is a trick, it is not true: {act} {soon} and you get {prize}",
    ),
    (
        "If they ask you to {act} {soon} for {prize}, say yes and not no",
        "If they ask you to {act} {soon} for {prize}, say no and not yes",
    ),
)
# every word of these stands in spam and in ham; only two of them together tell
QUOTED = '"{Act} {soon} for {prize}" - {name} says that this is {what}, and {name} is {judged}'
TURNS = {
    "spam": (("real", "right"), ("a trick", "wrong")),
    "ham": (("real", "wrong"), ("a trick", "right")),
}
# shares of the three: patterns of their own, pairs, quotations
SHARES = (67, 23, 10)
WAITS = (
    "wait",
    "stay at home",
    "think about it",
    "ask {name}",
    "tell your mum",
    "go to the bank",
    "look at it again",
    "take your time",
)
SECRETS = (
    "the money",
    "the code",
    "the card number",
    "the password",
    "the account details",
    "the key",
)
PAST_DAYS = ("yesterday", "on Monday", "on Friday", "last week", "this morning", "last night")
SOON = ("now", "today", "this evening", "tomorrow", "at noon", "before Sunday", "this week")
OPENINGS = (
    "",
    "",
    "Hi {friend}, ",
    "Hello {friend}. ",
    "Dear {friend}, ",
    "Good morning. ",
    "Hi, ",
)
ENDINGS = (
    "",
    "",
    " Thank you",
    " See you {soon}",
    " Have a nice day",
    " It will not take long",
    " I hope you are well",
    " Call me {soon}",
)
SPAM_SHARE = 0.45


def make(settings: World) -> list[tuple[str, str]]:
    """Distinct messages as (label, text), shuffled."""
    rng = Random(f"{settings.seed}/messages")
    spam = round(SPAM_SHARE * settings.messages)
    messages = [("spam", text) for text in _distinct("spam", spam, rng)]
    messages += [("ham", text) for text in _distinct("ham", settings.messages - spam, rng)]
    return rng.sample(messages, len(messages))


def file_text(messages: list[tuple[str, str]]) -> str:
    """The lines of `SMSSpamCollection`: label, tab, text."""
    return "".join(f"{label}\t{text}\n" for label, text in messages)


def _distinct(label: str, count: int, rng: Random) -> list[str]:
    messages: dict[str, None] = {}
    for _ in range(20 * count):
        if len(messages) == count:
            break
        messages[_write(label, rng)] = None
    if len(messages) < count:
        raise UserError(f"download.world.messages: {count} of {label} are too many; lower it")
    return list(messages)


def _write(label: str, rng: Random) -> str:
    fields = _fields(rng)
    fields["what"], fields["judged"] = rng.choice(TURNS[label])
    own = {"spam": SPAM, "ham": HAM}[label]
    pair = rng.choice(PAIRS)[label == "ham"]
    body = rng.choices((rng.choice(own), pair, QUOTED), SHARES)[0].format(**fields)
    opening, ending = rng.choice(OPENINGS).format(**fields), rng.choice(ENDINGS).format(**fields)
    stop = "" if body.endswith("?") else rng.choice((".", ".", "!"))
    close = rng.choice((".", "!", "")) if ending else ""
    if opening.endswith(", ") and not body.startswith(("I ", fields["name"], "Mum", '"')):
        body = body[0].lower() + body[1:]
    return f"{opening}{body}{stop}{ending}{close}"


def _fields(rng: Random) -> dict[str, str]:
    """One choice for every slot of the patterns, and the same with a capital."""
    act, acted = rng.choice(ACTS)
    friend, name = rng.sample(NAMES, 2)
    fields = {
        "act": act,
        "acted": acted,
        "prize": rng.choice(PRIZES),
        "wait": rng.choice(WAITS).format(name=name),
        "secret": rng.choice(SECRETS),
        "name": name,
        "friend": friend,
        "place": rng.choice(PLACES),
        "soon": rng.choice(SOON),
        "past_day": rng.choice(PAST_DAYS),
    }
    return {capital(slot): capital(text) for slot, text in fields.items()} | fields
