"""Writes the prompts and pairs of the experiments beside this file: `python experiments/data/make.py`. Drawn with a fixed seed."""

import json
import random
from pathlib import Path

HERE = Path(__file__).parent
# What years are in the built-in model's vocabulary: " 49" is one token.
VOCABULARY = json.loads((HERE / "../../models/demo/tokenizer.json").read_text())["model"]["vocab"]
NAMES = "Mary John Anna Tom Sara Ben Lucy Paul Emma Jack Lily Max Kate Sam Alice David Julia Peter Laura Mark".split()
PLACES = "store park school garden station library beach office market museum".split()
COUNTRIES = {
    "France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Germany": "Berlin", "England": "London", "Portugal": "Lisbon", "Greece": "Athens",
    "Poland": "Warsaw", "Russia": "Moscow", "China": "Beijing", "Japan": "Tokyo", "Egypt": "Cairo", "Kenya": "Nairobi", "Cuba": "Havana",
    "Peru": "Lima", "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki", "Ireland": "Dublin", "Austria": "Vienna",
}
NOUNS = "dog cat boy girl bird horse teacher farmer doctor student table chair tree car boat king queen friend guard pilot".split()
BRACKETS = ["()", "[]", "{}"]


def write(name, rows):
    with open(HERE / f"{name}.jsonl", "w") as file:
        for row in rows:
            print(json.dumps(row), file=file)


def names(draw, order, others, n=40):
    """Two people, one of them gives. The corrupt prompt has three others in it, or the same two with their parts exchanged."""
    for number in range(n):
        receiver, giver, *rest = draw.sample(NAMES, 5)
        both = (receiver, giver) if order == "first" else (giver, receiver)
        frame = "When {} and {} went to the " + draw.choice(PLACES) + ", {} gave a drink to"
        corrupt = frame.format(*rest) if others else frame.format(*both, receiver)
        yield {"id": number, "clean": frame.format(*both, giver), "corrupt": corrupt, "answer": f" {receiver}", "foil": f" {giver}"}


def capitals(draw, frame, n=40):
    """A country, and another in its place."""
    for number in range(n):
        a, b = draw.sample(list(COUNTRIES), 2)
        yield {"id": number, "clean": frame.format(a), "corrupt": frame.format(b), "answer": f" {COUNTRIES[a]}", "foil": f" {COUNTRIES[b]}"}


def years(draw, n=40):
    """A year of two numbers, and the earliest year of the same century in its place, after which any may come (Hanna et al. 2023)."""
    for number in range(n):
        century, year = draw.randint(11, 18), draw.randint(10, 90)
        ids = {y: VOCABULARY[f"Ġ{y:02}"] for y in range(2, 100)}
        ends = {"answer_id": [ids[y] for y in range(year + 1, 100)], "foil_id": [ids[y] for y in range(2, year + 1)]}
        frame = "The " + draw.choice("war siege voyage famine journey project".split()) + f" lasted from {century} {{}} to {century}"
        yield {"id": number, "clean": frame.format(f"{year:02}"), "corrupt": frame.format("02"), **ends}


def agreement(draw, n=40):
    """The subject has one number, the noun between the other; the corrupt prompt has the subject's number changed."""
    for number in range(n):
        subject, between = draw.sample(NOUNS, 2)
        several = number % 2 == 1
        frame = f"The {{}} near the {between}{'' if several else 's'}"
        one, many = frame.format(subject), frame.format(subject + "s")
        clean, corrupt = (many, one) if several else (one, many)
        right, wrong = (" are", " is") if several else (" is", " are")
        yield {"id": number, "clean": clean, "corrupt": corrupt, "answer": right, "foil": wrong}


def brackets(draw, n=40):
    """What was opened last is closed first; the corrupt prompt has another bracket at that place."""
    for number in range(n):
        outer, inner, other = draw.sample(BRACKETS, 3)
        a, b, c, d = draw.sample(NOUNS, 4)
        opened = f"{a} {outer[0]} {b} "
        yield {"id": number, "clean": f"{opened}{inner[0]} {c} {d}", "corrupt": f"{opened}{other[0]} {c} {d}", "answer": f" {inner[1]}", "foil": f" {other[1]}"}


def sorting(draw, n=60):
    """Six letters, and those of the first kinds written in order; the corrupt prompt has one letter less of the kind that comes next. Ids, for
    nano-gpt-sort, which knows three letters."""
    number = 0
    while number < n:
        letters = [draw.randint(0, 2) for _ in range(6)]
        said = draw.randint(1, 5)
        right = sorted(letters)[said]
        # One letter of the kind that comes next becomes a later one, so that one fewer is left to write.
        if right == 2 or sorted(letters)[said - 1] != right or (said < 5 and sorted(letters)[said + 1] == right):
            continue
        other = letters.copy()
        other[draw.choice([i for i, letter in enumerate(letters) if letter == right])] = right + 1
        written = sorted(letters)[:said]
        wrong = sorted(other)[said]
        if sorted(other)[:said] != written or wrong == right:
            continue
        yield {"id": number, "clean_ids": letters + written, "corrupt_ids": other + written, "answer_id": right, "foil_id": wrong}
        number += 1


def addition(draw, what, n=60):
    """Two numbers of five digits, and their sum up to a digit that is next; ids of the digits, 10 for + and 11 for =. The corrupt prompt has another
    digit in this column (`digit`), or in the one to its right, so that there is no carry (`carry`), or in the one right of that, so that a
    carry that runs through a 9 is not there (`cascade`)."""
    digits = lambda number, width: [int(c) for c in f"{number:0{width}d}"]
    column = 2  # Hundreds.
    number = 0
    while number < n:
        a, b = draw.randrange(10**5), draw.randrange(10**5)
        far = {"digit": 0, "carry": 1, "cascade": 2}[what]
        place = 10 ** (column - far)
        new = draw.randrange(10)
        other = a + (new - a // place % 10) * place
        c, d = digits(a + b, 6), digits(other + b, 6)
        at = 5 - column
        between = [(a // 10**i % 10 + b // 10**i % 10) for i in range(column - far + 1, column)]
        if c[:at] != d[:at] or c[at] == d[at] or (what == "digit" and (a + b) // 10**column % 10 == (other + b) // 10**column % 10):
            continue
        if what != "digit" and not (other < a and all(pair == 9 for pair in between)):
            continue
        # Digits left of the column that may depend on the carry are the same in both, as c[:at] says.
        prompt = lambda x: digits(x, 5) + [10] + digits(b, 5) + [11] + c[:at]
        yield {"id": number, "clean_ids": prompt(a), "corrupt_ids": prompt(other), "answer_id": c[at], "foil_id": d[at]}
        number += 1


def reversing(draw, n=30):
    """Five letters after BOS (0), one of which is another in the corrupt prompt; tracr's program of reversal says it at the mirrored place, which is
    the last here: the first letter is changed."""
    letters = [1, 2, 3, 5]
    said = {1: 0, 2: 1, 3: 2, 5: 3}  # The output vocabulary has neither BOS nor padding.
    for number in range(n):
        text = [draw.choice(letters) for _ in range(5)]
        other = draw.choice([x for x in letters if x != text[0]])
        yield {"id": number, "clean_ids": [0, *text], "corrupt_ids": [0, other, *text[1:]], "answer_id": said[text[0]], "foil_id": said[other]}


def counting(draw, n=30):
    """Five letters after BOS (0); tracr's program of histograms says at each how often it is there. The corrupt prompt has one fewer of the last."""
    number = 0
    while number < n:
        text = [draw.randint(1, 3) for _ in range(5)]
        same = [i for i, x in enumerate(text[:-1]) if x == text[-1]]
        if not same:
            continue
        other = text.copy()
        other[draw.choice(same)] = draw.choice([x for x in (1, 2, 3) if x != text[-1]])
        count = text.count(text[-1])
        yield {"id": number, "clean_ids": [0, *text], "corrupt_ids": [0, *other], "answer_id": count, "foil_id": count - 1}
        number += 1


def repeats(draw, vocabulary, bos, n):
    """Random tokens read twice, as ids."""
    for number in range(n):
        half = [draw.randrange(300, vocabulary) for _ in range(20)]
        yield {"id": number, "ids": [bos, *half, *half]}


if __name__ == "__main__":
    for order in ["first", "second"]:
        write(f"names-{order}", names(random.Random(1), order, others=True))
        write(f"givers-{order}", names(random.Random(2), order, others=False))
    write("capitals", capitals(random.Random(3), "The map of {} shows the capital,"))
    write("capitals-alone", ({key: row[key] for key in ("id", "clean", "answer", "foil")} for row in capitals(random.Random(3), "The map of {} shows the capital,")))
    write("years", years(random.Random(4)))
    write("agreement", agreement(random.Random(5)))
    write("brackets", brackets(random.Random(6)))
    write("sorting", sorting(random.Random(7)))
    for number, what in enumerate(["digit", "carry", "cascade"]):
        write(f"addition-{what}", addition(random.Random(8 + number), what))
    write("reversing", reversing(random.Random(11)))
    write("counting", counting(random.Random(12)))
    write("repeats-demo", repeats(random.Random(13), 2048, 0, 20))
    write("repeats-smollm2", repeats(random.Random(14), 49152, 0, 6))
    write("capitals-smollm2", capitals(random.Random(15), "The capital of {} is", 10))
    write("capitals-smollm2-alone", ({key: row[key] for key in ("id", "clean", "answer", "foil")} for row in capitals(random.Random(15), "The capital of {} is", 10)))
    write("givers-smollm2", [*names(random.Random(16), "first", False, 4), *({**row, "id": row["id"] + 4} for row in names(random.Random(17), "second", False, 4))])
