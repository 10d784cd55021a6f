"""Words of daily life that the corpus, the messages and the instructions share."""

NAMES = (
    "Anna Ben Carla David Ella Felix Greta Henry Ines Jack Laura Max Nina Oscar Paula Robert Sara Tom "
    "Vera Walter"
).split()

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
PEOPLE = (
    "farmer teacher baker painter driver nurse gardener waiter cook sailor student clerk tailor "
    "plumber"
).split()

GOOD = "wonderful lovely excellent delicious perfect delightful superb friendly".split()
BAD = "terrible awful horrible dreadful disappointing boring nasty annoying".split()
REVIEWED = "film meal hotel concert soup show service story trip dinner museum play".split()

# word -> the group it belongs to
GROUPS = {
    "animal": "pony puppy panther badger weasel magpie lynx donkey".split(),
    "plant": "oak fern tulip daisy ivy moss pine willow".split(),
    "tool": "hammer saw drill spanner chisel axe screwdriver spade".split(),
    "food": "cake soup pasta pancake sausage pie biscuit omelette".split(),
    "garment": "coat scarf jacket glove skirt sweater sock jumper".split(),
    "vehicle": "bus lorry tram van scooter tractor motorcycle taxi".split(),
    "instrument of music": "piano violin drum flute trumpet guitar harp cello".split(),
    "piece of furniture": "sofa desk wardrobe bookcase bench stool cupboard sideboard".split(),
}

# present with he or she, past, base
ROUTINES = (
    ("walks", "walked", "walk"),
    ("travels", "travelled", "travel"),
    ("hurries", "hurried", "hurry"),
    ("cycles", "cycled", "cycle"),
    ("returns", "returned", "return"),
    ("strolls", "strolled", "stroll"),
)
PLACES = (
    "market station office library museum park theatre harbour airport bakery hospital stadium "
    "farm castle"
).split()

NUMBER_WORDS = "zero one two three four five six seven eight nine ten".split()

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
    """The number (1 to 399) in Roman numerals."""
    signs = (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV")
    written = ""
    for size, sign in (*signs, (1, "I")):
        count, number = divmod(number, size)
        written += sign * count
    return written
