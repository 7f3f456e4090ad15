"""Data-to-text made on the spot: a small grammar that says what a list of facts says, in many ways.

In five domains the network is trained before; the sixth, the theatre, is the new task. It says the same kinds of facts
in sentences of its own make. All its words occur in the five domains ("known words"); in a second version fifteen of
them are replaced by words that the network has never seen ("new words").
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

NAMES = (
    "Alma", "Birch", "Cobalt", "Delphi", "Ember", "Fable", "Garnet", "Harbour",
    "Iris", "Juniper", "Kestrel", "Lantern", "Meridian", "Nimbus", "Orchard", "Pavilion",
    "Quarry", "Raven", "Saffron", "Tandem", "Umber", "Vesper", "Willow", "Yarrow",
    "Zephyr", "Amber", "Basil", "Cedar", "Dahlia", "Elm",
)  # fmt: skip
VALUES = {
    "price": ("cheap", "moderate", "expensive", "free"),
    "area": ("north", "south", "centre", "riverside", "harbourside"),
    "rating": ("poor", "average", "good", "excellent", "famous"),
    "time": ("morning", "afternoon", "evening", "night"),
    "food": ("italian", "french", "indian", "chinese", "japanese"),
    "rooms": ("small", "large", "quiet", "modern", "bright"),
    "art": ("painting", "history", "science", "music", "dance", "comedy"),
    "goods": ("books", "shoes", "clothes", "toys", "flowers"),
    "drinks": ("coffee", "tea", "juice", "wine", "water"),
}
# What a domain can say of a place, and how. [a|b] is a choice; <slot: …> is left out if the fact is not given.
SOURCES = {
    "restaurant": (
        "food price area near rating",
        (
            "{name} is a <price:{price} >restaurant<area: [in|at] the {area}><near: , [near|close to] {near}> . "
            "<food:[it serves|you can eat] {food} food [here|there] . ><rating:people [say|think] it is {rating} .>",
            "<food:if you like {food} food , >[try|visit] {name}<near: near {near}> . it is a <price:{price} >"
            "restaurant<area: on the {area} side><rating: , and its kitchen is {rating}> .",
        ),
    ),
    "hotel": (
        "rooms price area near rating",
        (
            "{name} is a hotel<area: [in|at] the {area}><rooms: with {rooms} rooms> . "
            "<price:a night is {price} . ><near:it stands [beside|behind] {near} . >"
            "<rating:guests [call|find] it {rating} .>",
            "<rooms:you will find {rooms} rooms at >[the hotel|the house called] {name}"
            "<area: , which is in the {area}> . "
            "<near:{near} is not far . ><price:it is {price}><rating: and {rating}> .",
        ),
    ),
    "museum": (
        "art price area time rating",
        (
            "the museum {name}<area: [in|at] the {area}> <art:shows {art} and >is open<time: [in|until] the {time}> . "
            "<price:entry is {price} . ><rating:visitors [say|think] it is {rating} .>",
            "come to {name}<time: in the {time}><art: for its {art}> . this museum<area: of the {area}> is "
            "<price:{price}, and >[worth a visit|open to all]<rating: ; many think it {rating}> .",
        ),
    ),
    "shop": (
        "goods price area near rating",
        (
            "{name} sells <price:{price} ><goods:{goods}>[ to all| every day]<area: [in|at] the {area}> . "
            "<near:the shop is [across from|beside] {near} . ><rating:its service is {rating} .>",
            "the shop {name}<near: , across from {near} ,> [offers|sells] <goods:{goods} >of every kind . "
            "<price:they are {price} . ><area:look for it in the {area} . ><rating:buyers call it {rating} .>",
        ),
    ),
    "cafe": (
        "drinks price area time near",
        (
            "[stop|rest] at {name}<near: beside {near}> for <price:{price} ><drinks:{drinks}>"
            "[ and a chair| with friends] . "
            "<time:the cafe is full in the {time} . ><area:it is in the {area} .>",
            "{name} is a <price:{price} >cafe<area: by the {area}><near: , close to {near}> . "
            "<drinks:they [pour|serve] {drinks}><time: until the {time}> .",
        ),
    ),
}
THEATRE = (
    "art price area time near rating",
    (
        "<area:look to the {area} ; ><near:[beside|behind] {near} , >there the house called {name} offers <art:{art} >"
        "<time:every {time} >to [visitors|guests] . <rating:many find its service {rating} . >"
        "<price:a chair is {price} .>",
        "<time:until the {time} , ><art:its {art} is worth a visit ; >the house {name}<near: close to {near}>"
        "<area: is not far from the {area}> . <price:it offers a {price} chair . >"
        "<rating:friends [call|think] it {rating} .>",
    ),
)
NEW_WORDS = {
    "cheap": "thrifty", "moderate": "fair", "expensive": "dear", "free": "gratis", "poor": "dull",
    "average": "middling", "good": "fine", "excellent": "superb", "famous": "fabled", "house": "playhouse",
    "chair": "seat", "offers": "stages", "visitors": "spectators", "guests": "patrons", "friends": "critics",
}  # fmt: skip
TARGETS = ("known words", "new words")


@dataclass(frozen=True)
class Example:
    """facts: slot and value in turn, as words. references: texts that say them, each a list of words."""

    facts: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]


def examples(domain: str, count: int, references: int, seed: int) -> list[Example]:
    """So many examples of a domain, or of a target ('known words', 'new words'), by a seed."""
    generator = random.Random(f"{domain}/{seed}")
    slots, plans = THEATRE if domain in TARGETS else SOURCES[domain]
    found = []
    for _ in range(count):
        name, near = generator.sample(NAMES, 2)
        given = set(generator.sample(slots.split(), generator.randint(3, 5)))
        facts = {"name": name}
        for slot in slots.split():
            if slot in given:
                facts[slot] = near if slot == "near" else generator.choice(VALUES[slot])
        texts = [realise(generator.choice(plans), facts, generator) for _ in range(references)]
        words = [word for slot, value in facts.items() for word in (slot, value)]
        found.append(Example(_renamed(words, domain), tuple(_renamed(text, domain) for text in texts)))
    return found


def realise(plan: str, facts: dict[str, str], generator: random.Random) -> list[str]:
    """One text for these facts: clauses of facts that are missing go, choices are made."""
    text = re.sub(r"<(\w+):([^>]*)>", lambda match: match[2] if match[1] in facts else "", plan)
    text = re.sub(r"\[([^]]*)\]", lambda match: generator.choice(match[1].split("|")), text)
    words = text.format_map(facts).replace(",", " , ").split()
    # A clause that is left out may leave its punctuation behind
    return [word for i, word in enumerate(words) if not (word in ",;" and (i == 0 or words[i - 1] in ",;."))]


@cache
def vocabulary() -> tuple[str, ...]:
    """All words: padding, separator and end first, then those of the facts and of every plan, then the new ones."""
    plans = [plan for _, plans in (*SOURCES.values(), THEATRE) for plan in plans]
    written = " ".join(re.sub(r"<\w+:|\{\w+\}|[\[\]<>|]", " ", plan).replace(",", " , ") for plan in plans).split()
    slots = ["name", "near", *VALUES]
    values = [value for values in VALUES.values() for value in values]
    return tuple(dict.fromkeys(["<pad>", "<sep>", "<end>", *slots, *NAMES, *values, *written, *NEW_WORDS.values()]))


def encode(words: Sequence[str]) -> list[int]:
    return [_places()[word] for word in words]


def decode(tokens: Sequence[int]) -> list[str]:
    return [vocabulary()[token] for token in tokens]


@cache
def _places() -> dict[str, int]:
    return {word: place for place, word in enumerate(vocabulary())}


def _renamed(words: Sequence[str], domain: str) -> tuple[str, ...]:
    return tuple(NEW_WORDS.get(word, word) if domain == "new words" else word for word in words)
