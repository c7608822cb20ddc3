"""Conversations made up: planted facts, later changes of some, what looks like them, and chatter.

Made by chance from a seed, without a look at how anything is ranked. A question asks for a fact
about something (``my sister``, ``the kitchen``) in words of its own; how many of its words stand in
the message that it needs is measured and printed, and is to be held against real dialogues'.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

PEOPLE = [
    "sister",
    "brother",
    "aunt",
    "uncle",
    "cousin",
    "neighbour",
    "boss",
    "flatmate",
    "landlord",
    "grandmother",
    "trainer",
    "niece",
    "nephew",
    "godfather",
    "colleague",
    "roommate",
]
PLACES = [
    "office",
    "cellar",
    "garage",
    "workshop",
    "library",
    "studio",
    "warehouse",
    "clinic",
    "gym",
    "school",
]
DOCTORS = [
    "dentist",
    "dermatologist",
    "cardiologist",
    "physiotherapist",
    "optician",
    "paediatrician",
    "vet",
]
PROJECTS = [
    "wedding",
    "renovation",
    "website",
    "garden",
    "party",
    "brochure",
    "conference",
    "playground",
    "kitchen",
    "roof",
]
SYSTEMS = [
    "database",
    "gateway",
    "printer",
    "scheduler",
    "mailer",
    "firewall",
    "backup",
    "dashboard",
]
VEHICLES = ["van", "motorbike", "trailer", "estate", "camper", "scooter"]
FURNITURE = ["sofa", "wardrobe", "desk", "bookcase", "fridge", "cupboard", "mattress"]
ROOMS = ["hallway", "bedroom", "nursery", "bathroom", "attic", "kitchen", "study"]
DISHES = ["lasagne", "goulash", "risotto", "curry", "chili", "pancakes", "stew"]
CITIES = [
    "Lisbon",
    "Oslo",
    "Tampere",
    "Gdansk",
    "Utrecht",
    "Bologna",
    "Leeds",
    "Graz",
    "Porto",
    "Turku",
    "Cork",
    "Vilnius",
]
NAMES = [
    "Rosa",
    "Max",
    "Pixel",
    "Otto",
    "Luna",
    "Biscuit",
    "Nemo",
    "Frida",
    "Ziggy",
    "Momo",
    "Hugo",
    "Pepper",
]
FOODS = ["walnuts", "celery", "shrimps", "mustard", "lentils", "strawberries", "sesame", "lactose"]
SPICES = ["cardamom", "fennel", "star-anise", "mace", "sumac", "thyme", "nutmeg", "caraway"]
COLOURS = ["ochre", "teal", "crimson", "lavender", "olive", "ivory", "turquoise", "charcoal"]
STREETS = ["Elm", "Mill", "Harbour", "Station", "Chapel", "Orchard", "Bridge", "Castle"]
BOOKS = ["Middlemarch", "Solaris", "Dracula", "Momo", "Emma", "Beloved", "Persuasion", "Ulysses"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
MONTHS = ["January", "March", "April", "June", "August", "October", "November"]


@dataclass(frozen=True)
class Kind:
    """``{about}`` is what it is about, ``{value}`` what is asked for."""

    about: list[str]
    values: list[str]
    said: tuple[str, ...]
    changed: tuple[str, ...]
    asked: tuple[str, ...]
    elsewhere: tuple[str, ...]
    """Words of the question in another matter."""


def _kinds(chance: random.Random) -> list[Kind]:
    codes = [str(chance.randint(1_000, 9_999)) for _ in range(40)]
    sums = [f"{chance.randint(12, 99)}00" for _ in range(40)]
    widths = [str(chance.randint(62, 240)) for _ in range(40)]
    times = [f"{day} at {hour}" for day in DAYS for hour in range(8, 18)]
    dates = [f"the {day}th of {month}" for month in MONTHS for day in range(4, 20)]
    return [
        Kind(
            PEOPLE, NAMES,
            ("My {about} got a puppy, its name is {value}.", "The dog at my {about}'s is {value}."),
            ("My {about} renamed the dog after all: {value} it is now.",),
            ("What is my {about}'s dog called?", "How do they call the pet at my {about}'s house?",
             "Remind me which name the puppy of my {about} has."),
            ("Would a dog be happy in a flat like my {about}'s?",
             "My {about} called, nothing important."),
        ),
        Kind(
            DOCTORS, times,
            ("The {about} can take me on {value}.", "Got a slot with the {about}: {value}."),
            ("The {about} had to move it, now it's {value}.",),
            ("When is my {about} appointment?", "What time do I have to be at the {about}'s?",
             "On which day did I arrange to see the {about}?"),
            ("Is a {about} paid well?", "How long does an appointment usually take?"),
        ),
        Kind(
            PEOPLE, CITIES,
            ("My {about} is moving to {value} for work.", "My {about} found a flat in {value}."),
            ("Change of plans: my {about} goes to {value} instead.",),
            ("Where will my {about} live?", "Which city did my {about} pick?",
             "To which town is my {about} relocating?"),
            ("My {about} wants to live closer to the sea one day.",
             "Which city has the best trams?"),
        ),
        Kind(
            PEOPLE, FOODS,
            ("My {about} can't eat {value}.", "Careful, my {about} is allergic to {value}."),
            ("It turns out that for my {about} the problem is {value}.",),
            ("What must I not cook when my {about} comes over?",
             "Which food does my {about} not tolerate?",
             "What is it that my {about} is allergic to?"),
            ("My {about} comes over at the weekend, I should cook something.",),
        ),
        Kind(
            PLACES, codes,
            ("The door code of the {about} is {value}.", "You open the {about} with {value}."),
            ("They changed the code for the {about}, it is {value} from now on.",),
            ("How do I get into the {about}?", "What do I type at the {about} entrance?",
             "What was the door code of the {about} again?"),
            ("The {about} door squeaks.", "What should I type as a subject line?"),
        ),
        Kind(
            PROJECTS, sums,
            ("For the {about} we agreed on {value} euros.", "The {about} may cost {value} euros."),
            ("We raised what we set aside for the {about} to {value} euros.",),
            ("How much money do we have for the {about}?", "What is our budget for the {about}?",
             "What did we settle on spending on the {about}?"),
            ("How much work is a {about}, roughly?", "Money is tight this month."),
        ),
        Kind(
            SYSTEMS, codes,
            ("Our {about} listens on port {value}.", "The {about} is reachable at port {value}."),
            ("The {about} was put on port {value} last night.",),
            ("Which port does our {about} use?", "On what number can I reach the {about}?",
             "What port did we give the {about}?"),
            ("The {about} was slow today.", "What does a port number mean at all?"),
        ),
        Kind(
            PEOPLE, dates,
            ("My {about} has birthday on {value}.", "My {about} was born on {value}."),
            ("I had my {about}'s birthday wrong, it's on {value}.",),
            ("When is my {about}'s birthday?", "On what date should I congratulate my {about}?",
             "When does my {about} turn a year older?"),
            ("What could one give a {about} for a birthday?",),
        ),
        Kind(
            DISHES, SPICES,
            ("My trick for {about} is {value}.", "I always put {value} into my {about}."),
            ("These days I take {value} for the {about}.",),
            ("What is my secret ingredient for {about}?", "Which spice do I use in {about}?",
             "What do I season {about} with?"),
            ("How long does {about} keep in the fridge?", "Is there an ingredient nobody likes?"),
        ),
        Kind(
            VEHICLES, [f"{street} Street" for street in STREETS],
            ("I parked the {about} in {value}.", "The {about} stands in {value}."),
            ("I moved the {about}, it's in {value} now.",),
            ("Where did I leave the {about}?", "Where is the {about} parked?",
             "In what street is the {about}?"),
            ("The {about} needs new tyres.", "Parking is expensive everywhere."),
        ),
        Kind(
            FURNITURE, widths,
            ("The {about} is {value} centimetres wide.", "I measured the {about}: {value} cm."),
            ("Measured again, the {about} has {value} cm.",),
            ("How wide is the {about}?", "How many centimetres does the {about} need?",
             "What was the width of the {about}?"),
            ("Is a {about} worth buying second-hand?", "How wide is a usual door?"),
        ),
        Kind(
            ROOMS, COLOURS,
            ("We decided on {value} for the {about} walls.", "The {about} will be {value}."),
            ("We changed our minds, the {about} gets {value}.",),
            ("What colour will the {about} be?", "Which paint do I need for the {about}?",
             "In what shade do we want the {about}?"),
            ("The {about} is so dark in winter.", "Does white paint turn yellow?"),
        ),
        Kind(
            PEOPLE, BOOKS,
            ("My {about} lent me {value}.", "I'm reading {value}, my {about} gave it to me."),
            ("My {about} took that back and brought me {value}.",),
            ("Which book do I have from my {about}?", "What did my {about} give me to read?",
             "Which novel do I have to return to my {about}?"),
            ("My {about} never reads a book.", "What should I read on the train?"),
        ),
    ]  # fmt: skip


CHATTER = (
    "Can you explain {thing} in simple words?", "What do you think of {thing}?",
    "I spent the whole morning with {thing}.", "My {person} keeps talking about {thing}.",
    "Give me three ideas for {thing}.", "Is {thing} still a thing, or is that over?",
    "Why does everybody like {thing} so much?", "The {place} was closed again today.",
    "I had {dish} for lunch, it was fine.", "How would you start with {thing}?",
    "{day} was long, tell me something nice about {thing}.", "Is there a good film about {thing}?",
    "My {person} asked me whether {thing} is worth it.", "What goes well with {dish}?",
    "Write a haiku about {thing}.", "How far is it to {city}, roughly?",
)  # fmt: skip
THINGS = [
    "sourdough bread",
    "the tides",
    "old maps",
    "chess openings",
    "solar panels",
    "compound interest",
    "jazz",
    "beekeeping",
    "the Roman calendar",
    "long-distance trains",
    "sleep",
    "cast iron pans",
    "tax returns",
    "volcanoes",
    "knots",
    "learning Finnish",
    "black holes",
    "crosswords",
    "street photography",
    "composting",
    "the printing press",
    "minimalism",
    "marathon training",
    "glaciers",
    "podcasts",
    "mushrooms",
    "handwriting",
    "tea",
    "origami",
    "bicycles",
]
SENTENCES = (
    "It depends on what you want to get out of it.", "Most people begin too fast and then stop.",
    "A good way is to take a small part and look at it closely.", "There are two schools here.",
    "The older one says that patience is everything.", "I would not worry about that at first.",
    "You can try it at home within an hour.", "It helps to write down what surprised you.",
    "With {thing} it is much the same.", "Some compare it with {thing}, which is not quite right.",
    "Ask around, perhaps your {person} has tried it.", "In {city} there is even a museum for it.",
    "A friend in {city} swears by it.", "Give it a few weeks, until {day} or so.",
    "The first step costs nothing.", "After that you know whether it suits you.",
    "It goes well with {dish}, by the way.", "Just don't do it in the {place}.",
    "The details matter less than one thinks.", "In short: yes, but slowly.",
    "There is a lot of nonsense written about it.", "What is true is that it takes practice.",
    "Around {number} people in a thousand ever do it.",
    "It was first described {number} years ago.",
)  # fmt: skip
ACKNOWLEDGED = (
    "Thanks, I'll keep that in mind.", "Noted.", "Good to know.", "All right, I have that.",
    "Understood, thanks for telling me.", "Okay! Anything else?", "I see.", "Got it.",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    text: str
    needed: int
    """Which turn's question has it: the newest that says it."""
    value: str
    changed: bool
    """There is an older one, which says something else."""


@dataclass(frozen=True)
class Made:
    turns: list[tuple[str, str]]
    questions: list[Asked]


def conversation(turns: int, facts: int, seed: int) -> Made:
    """``turns`` of question and answer with ``facts`` planted anywhere, a third of them changed
    later; each has a question. For each there are two that look like it, about something else, and
    what has words of its question in another matter."""
    chance = random.Random(seed)
    kinds = _kinds(chance)
    pairs = [(kind, about) for kind in kinds for about in kind.about]
    chance.shuffle(pairs)
    chosen, alike = pairs[:facts], pairs[facts : 3 * facts]
    free = list(range(turns))
    chance.shuffle(free)
    said: dict[int, str] = {}
    questions = []
    for kind, about in chosen:
        values = chance.sample(kind.values, 2)
        places = sorted(free.pop() for _ in range(1 + (chance.random() < 1 / 3)))
        said[places[0]] = chance.choice(kind.said).format(about=about, value=values[0])
        if len(places) > 1:
            said[places[1]] = chance.choice(kind.changed).format(about=about, value=values[1])
        questions.append(
            Asked(
                text=chance.choice(kind.asked).format(about=about),
                needed=places[-1],
                value=values[len(places) - 1],
                changed=len(places) > 1,
            )
        )
        said[free.pop()] = chance.choice(kind.elsewhere).format(about=about)
    for kind, about in alike:
        if len(free) > turns // 4:
            value = chance.choice(kind.values)
            said[free.pop()] = chance.choice(kind.said).format(about=about, value=value)
    return Made([_turn(chance, said.get(place)) for place in range(turns)], questions)


def _turn(chance: random.Random, said: str | None) -> tuple[str, str]:
    if said is not None:
        more = f" {_filled(chance, chance.choice(CHATTER))}" if chance.random() < 0.5 else ""
        return said + more, chance.choice(ACKNOWLEDGED)
    answer = [_filled(chance, each) for each in chance.sample(SENTENCES, chance.randint(2, 9))]
    return _filled(chance, chance.choice(CHATTER)), " ".join(answer)


def _filled(chance: random.Random, text: str) -> str:
    return text.format(
        thing=chance.choice(THINGS),
        person=chance.choice(PEOPLE),
        place=chance.choice(PLACES),
        dish=chance.choice(DISHES),
        city=chance.choice(CITIES),
        day=chance.choice(DAYS),
        number=chance.randint(2, 900),
    )
