"""Words of daily life that the corpus, the messages and the instructions share."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words(
    "Anna Ben Carla David Ella Felix Greta Henry Ines Jack Laura Max Nina Oscar Paula Robert "
    "Sara Tom Vera Walter"
)

# verb in the present with he or she, past, participle, things it is done to
ACTIONS = (
    ("opens", "opened", "opened", ("gate", "box", "shop", "bottle", "envelope")),
    ("cleans", "cleaned", "cleaned", ("kitchen", "car", "carpet", "bathroom")),
    ("paints", "painted", "painted", ("fence", "wall", "portrait", "boat")),
    ("repairs", "repaired", "repaired", ("roof", "bicycle", "engine", "radio")),
    ("washes", "washed", "washed", ("plate", "blanket", "car", "curtain")),
    ("carries", "carried", "carried", ("basket", "suitcase", "ladder", "box")),
    ("cooks", "cooked", "cooked", ("soup", "dinner", "meal", "stew")),
    ("plants", "planted", "planted", ("hedge", "rose", "bush", "seed")),
    ("moves", "moved", "moved", ("sofa", "piano", "desk", "barrel")),
    ("checks", "checked", "checked", ("list", "bill", "ticket", "map")),
    ("locks", "locked", "locked", ("cupboard", "gate", "office", "drawer")),
    ("copies", "copied", "copied", ("poem", "page", "map", "recipe")),
)
PEOPLE = _words(
    "farmer teacher baker painter driver nurse gardener waiter cook sailor student clerk tailor "
    "plumber"
)

GOOD = _words("wonderful lovely excellent splendid perfect delightful superb marvellous")
BAD = _words("terrible awful horrible dreadful disappointing dismal shocking hopeless")
REVIEWED = _words("film meal hotel concert soup show service story trip dinner museum play")

# word -> the group it belongs to
GROUPS = {
    "animal": _words("pony puppy panther badger weasel magpie lynx donkey"),
    "plant": _words("oak fern tulip daisy ivy moss pine willow"),
    "tool": _words("hammer saw drill spanner chisel axe screwdriver spade"),
    "food": _words("cake soup pasta pancake sausage pie biscuit omelette"),
    "garment": _words("coat scarf jacket glove skirt sweater sock jumper"),
    "vehicle": _words("bus lorry tram van scooter tractor motorcycle taxi"),
    "instrument of music": _words("piano violin drum flute trumpet guitar harp cello"),
    "piece of furniture": _words("sofa desk wardrobe bookcase bench stool cupboard sideboard"),
}

ALL_WORDS = [word for group in sorted(GROUPS) for word in GROUPS[group]]

# present with he or she, past, base
ROUTINES = (
    ("walks", "walked", "walk"),
    ("travels", "travelled", "travel"),
    ("hurries", "hurried", "hurry"),
    ("cycles", "cycled", "cycle"),
    ("returns", "returned", "return"),
    ("strolls", "strolled", "stroll"),
)
PLACES = _words(
    "market station office library museum park theatre harbour airport bakery hospital stadium "
    "farm castle"
)

NUMBER_WORDS = _words("zero one two three four five six seven eight nine ten")

# large unit, small unit, how many small ones
CONVERSIONS = (
    ("metres", "centimetres", 100),
    ("kilometres", "metres", 1000),
    ("kilograms", "grams", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("weeks", "days", 7),
    ("years", "months", 12),
    ("days", "hours", 24),
    ("litres", "millilitres", 1000),
    ("centuries", "years", 100),
)


def roman(number: int) -> str:
    """Return the number (1 to 399) in Roman numerals."""
    signs = (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV")
    numeral = ""
    for size, sign in (*signs, (1, "I")):
        count, number = divmod(number, size)
        numeral += sign * count
    return numeral
