#!/usr/bin/env python3
"""Writes the loyalty export that the benchmarks read: the same bytes for the same arguments, on every machine.

12 columns, CRLF line ends, UTF-8 names, unique ids in no order. Of the messages 40 % are empty and 20 % quoted:
13 % hold a comma, 4 % doubled quotes, 3 % a line end. A row takes 138 bytes on average.

    generate.py --rows 1000000 --out loyalty.csv                  the export
    generate.py --rows 1000000 --changed 1% --out loyalty_v2.csv  the next one: 1 % of the rows have other points
    generate.py --schemas DIR                                     what passferry, frictionless and qsv are to check it against
"""

import argparse
import json
import pathlib
import random
import sys
import time

COLUMNS = [
    "external_id", "email", "first_name", "last_name", "points", "tier",
    "balance", "currency", "expiry_date", "opt_in", "last_purchase_at", "message",
]
FIRST = [
    "Zoé", "Émile", "Jürgen", "Łukasz", "Søren", "Chloë", "Ana", "Ines", "Noah", "Mia", "Léa", "Björn", "Agnès", "Tomáš", "Paul", "Ida",
    "Marta", "Hugo", "Nils", "Aïcha", "Olga", "Iván", "Eva", "Max", "Nuño", "Élodie", "Karin", "Pierre", "Sofia", "Anton", "Greta", "Ömer",
]
LAST = [
    "Müller", "García", "Lefèvre", "Kowalski", "Ångström", "Rossi", "Dubois", "Novák", "Martin", "Schäfer", "Nuñez", "Silva", "O'Brien",
    "Jensen", "Bakker", "Öztürk", "Weiß", "Moreau", "Fischer", "Popescu", "Lindqvist", "Horváth", "Petit", "Costa", "Meyer", "Fernández",
    "Dvořák", "Andersson", "Bianchi", "Roux", "Keller", "Yıldız",
]
HOSTS = ["example.com", "mail.example.org", "example.net", "post.example.com"]
TIERS = ["bronze", "bronze", "bronze", "bronze", "silver", "silver", "gold", "platinum"]
CURRENCIES = ["EUR", "EUR", "EUR", "GBP", "CHF", "SEK", "PLN", "USD"]
PLAIN = [
    "Thank you for your visit today",
    "Your points are waiting for you in store",
    "New autumn collection now in all our shops",
    "Double points this weekend on everything",
    "See you soon at the counter",
    "A coffee is on the house this week",
    "Happy birthday from all of us",
    "Your tier was renewed for another year",
]
COMMA = [
    '"Dear customer, your reward is ready"',
    '"This week only: shoes, bags and belts"',
    '"Thank you, and see you soon"',
    '"Paris, Lyon, Lille: three new shops"',
]
DOUBLED = [
    '"You reached ""gold"" this month"',
    '"Show the word ""autumn"" at the till"',
]
NEWLINE = [
    '"Open on Sunday\n10:00 to 18:00"',
    '"Your balance was updated\nThank you"',
]
# A prime above any number of rows: multiplying by a number that it does not divide permutes the ids.
ID_PRIME = 999_999_937
ID_STEP = 387_420_489
ROWS_PER_WRITE = 20_000


def messages(draw):
    """100 messages in the promised shares, so that an index below 100 picks one."""
    pool = [""] * 40
    for count, choices in ((40, PLAIN), (13, COMMA), (4, DOUBLED), (3, NEWLINE)):
        pool += [choices[i % len(choices)] for i in range(count)]
    draw.shuffle(pool)
    return pool


def ascii_name(name):
    kept = "".join(c for c in name.lower() if "a" <= c <= "z")
    return kept or "x"


def rows(count, seed, changed):
    """Yields encoded lines in large pieces. The draws for changes are apart, so that both versions agree in all other rows."""
    draw = random.Random(seed)
    changes = random.Random(seed + 1)
    message = messages(draw)
    days = [f"{2027 + i // 336}-{i // 28 % 12 + 1:02}-{i % 28 + 1:02}" for i in range(1024)]
    stamps = [f"2026-{i // 28 % 10 + 1:02}-{i % 28 + 1:02}T{i * 7 % 24:02}:{i * 13 % 60:02}:{i * 29 % 60:02}Z" for i in range(4096)]
    people = [(f"{ascii_name(f)}.{ascii_name(l)}", f"{f},{l}") for f in FIRST for l in LAST]
    id_start = draw.randrange(1, ID_PRIME)
    bits, chance = draw.getrandbits, changes.random
    number = id_start
    piece, differing = [], 0
    for _ in range(count):
        number = (number + ID_STEP) % ID_PRIME
        word = bits(64)
        local, names = people[word & 1023]
        points = (word >> 10 & 8191) * (word >> 23 & 3)
        if changed and chance() < changed:
            points += 1 + (word >> 40 & 511)
            differing += 1
        piece.append(
            f"C-{number:09},{local}{number % 9973}@{HOSTS[word >> 25 & 3]},{names},{points},{TIERS[word >> 27 & 7]},"
            f"{word >> 30 & 511}.{word >> 39 & 63:02},{CURRENCIES[word >> 45 & 7]},{days[word >> 48 & 1023]},"
            f"{'true' if word >> 58 & 3 else 'false'},{stamps[word >> 20 & 4095]},{message[word % 100]}\r\n"
        )
        if len(piece) == ROWS_PER_WRITE:
            yield "".join(piece).encode(), differing
            piece = []
    yield "".join(piece).encode(), differing


def share(text):
    """`1%` or `0.01`."""
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0% and 100%")
    return value


def table_schema():
    text = {"type": "string"}
    need = {"required": True}
    fields = {
        "external_id": {**text, "constraints": {**need, "unique": True, "minLength": 1, "maxLength": 36}},
        "email": {**text, "format": "email", "constraints": {"maxLength": 254}},
        "first_name": {**text, "constraints": {"maxLength": 64}},
        "last_name": {**text, "constraints": {"maxLength": 64}},
        "points": {"type": "integer", "constraints": {**need, "minimum": 0, "maximum": 10_000_000}},
        "tier": {**text, "constraints": {**need, "enum": ["bronze", "silver", "gold", "platinum"]}},
        "balance": {"type": "number", "constraints": need},
        "currency": {**text, "constraints": {**need, "pattern": "^[A-Z]{3}$"}},
        "expiry_date": {"type": "date"},
        "opt_in": {"type": "boolean"},
        "last_purchase_at": {"type": "datetime"},
        "message": {**text, "constraints": {"maxLength": 280}},
    }
    return {
        "fields": [{"name": name, **fields[name]} for name in COLUMNS],
        "primaryKey": ["external_id"],
        "missingValues": [""],
    }


def json_schema():
    """The same rules for qsv, which checks the key by a word of its own."""

    def text(**rules):
        return {"type": ["string", "null"], **rules}

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "external_id": {"type": "string", "minLength": 1, "maxLength": 36},
            "email": text(format="email", maxLength=254),
            "first_name": text(maxLength=64),
            "last_name": text(maxLength=64),
            "points": {"type": "integer", "minimum": 0, "maximum": 10_000_000},
            "tier": {"type": "string", "enum": ["bronze", "silver", "gold", "platinum"]},
            "balance": {"type": "number"},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "expiry_date": text(format="date"),
            "opt_in": {"type": ["boolean", "null"]},
            "last_purchase_at": text(format="date-time"),
            "message": text(maxLength=280),
        },
        "required": ["external_id", "points", "tier", "balance", "currency"],
    }


def write_schemas(folder):
    folder.mkdir(parents=True, exist_ok=True)
    keyed = {**json_schema(), "uniqueCombinedWith": ["external_id"]}
    for name, schema in (("loyalty.table.json", table_schema()), ("loyalty.qsv.json", json_schema()), ("loyalty.qsv-key.json", keyed)):
        (folder / name).write_text(json.dumps(schema, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="data rows (default 1000000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another file (default 1)")
    parser.add_argument("--changed", type=share, default=0.0, metavar="SHARE", help="give this share of the rows other points, such as 1%%")
    parser.add_argument("--out", type=pathlib.Path, help="the file to write")
    parser.add_argument("--schemas", type=pathlib.Path, metavar="DIR", help="write the schemas there")
    args = parser.parse_args()
    if not args.out and not args.schemas:
        parser.error("nothing to do: give --out or --schemas")
    if not 0 <= args.rows < ID_PRIME:
        parser.error(f"--rows must be below {ID_PRIME}")
    if args.schemas:
        write_schemas(args.schemas)
    if args.out:
        started = time.monotonic()
        differing = 0
        header = (",".join(COLUMNS) + "\r\n").encode()
        with open(args.out, "wb") as out:
            out.write(header)
            for piece, differing in rows(args.rows, args.seed, args.changed):
                out.write(piece)
            size = out.tell()
        mean = (size - len(header)) / max(args.rows, 1)
        print(
            f"{args.out}: {args.rows} rows, {size} bytes, {mean:.1f} a row, {differing} changed, {time.monotonic() - started:.1f} s",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main()
