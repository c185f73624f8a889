"""The loyalty export in the forms in which exporters write: what each differs in, and how to read it again."""

import bz2
import csv
import gzip
import json
import shutil
import subprocess
import zipfile
from datetime import datetime, timezone

ROWS_PER_WRITE = 20_000


class Form:
    """One way to write. `apart` is the program that does alone what is charged to nobody: taking off a container or a character set."""

    def __init__(self, name, what, write, dialect=None, options=(), schema=None, apart=None):
        self.name, self.what, self.write, self.dialect = name, what, write, dialect
        self.options, self.schema, self.apart = options, schema, apart


def rows(plain):
    with open(plain, encoding="utf-8", newline="") as file:
        yield from csv.reader(file)


def lines(to, texts):
    piece = []
    with open(to, "w", encoding="utf-8", newline="") as file:
        for text in texts:
            piece.append(text)
            if len(piece) == ROWS_PER_WRITE:
                file.write("".join(piece))
                piece = []
        file.write("".join(piece))


def by_csv(**how):
    def write(plain, to):
        with open(to, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, **how).writerows(rows(plain))

    return write


def bare(plain, to):
    """Without quotes: a backslash stands before what would mean something, as Redshift unloads with ESCAPE."""
    escape = str.maketrans({"\\": "\\\\", "|": "\\|", "\n": "\\\n", "\r": "\\\r"})
    lines(to, ("|".join(cell.translate(escape) for cell in row) + "\n" for row in rows(plain)))


def two_signs(plain, to):
    lines(to, ("||".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' if '"' in cell or "\n" in cell or "|" in cell else cell for cell in row) + "\n" for row in rows(plain)))


def spaced(plain, to):
    def cell(text):
        return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n') else text

    lines(to, (", ".join(map(cell, row)) + "\r\n" for row in rows(plain)))


def commented(plain, to):
    with open(plain, encoding="utf-8", newline="") as file, open(to, "w", encoding="utf-8", newline="") as out:
        for number, line in enumerate(file):
            if number % 1000 == 1 and line.startswith("C-"):
                out.write(f"# page {number // 1000}\r\n")
            out.write(line)


def local(plain, to):
    """Decimal commas, day before month, seconds since 1970, words for no value: how people's tools write."""
    source = rows(plain)
    header = next(source)

    def changed(row):
        row[6] = row[6].replace(".", ",")
        row[8] = f"{row[8][8:10]}.{row[8][5:7]}.{row[8][:4]}"
        row[9] = {"true": "Oui", "false": "Non"}[row[9]]
        stamp = row[10]
        row[10] = str(int(datetime(int(stamp[:4]), int(stamp[5:7]), int(stamp[8:10]), int(stamp[11:13]), int(stamp[14:16]), int(stamp[17:19]), tzinfo=timezone.utc).timestamp()))
        row[11] = row[11] or "\\N"
        return row

    with open(to, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(header)
        writer.writerows(map(changed, source))


def local_schema(schema):
    fields = {field["name"]: field for field in schema["fields"]}
    fields["balance"]["decimalChar"] = ","
    fields["expiry_date"]["format"] = "%d.%m.%Y"
    fields["opt_in"].update(trueValues=["Oui"], falseValues=["Non"])
    fields["last_purchase_at"]["format"] = "epoch"
    return {**schema, "missingValues": ["", "\\N"]}


def recoded(charset):
    def write(plain, to):
        with open(plain, encoding="utf-8", newline="") as file, open(to, "w", encoding=charset, newline="", errors="replace") as out:
            shutil.copyfileobj(file, out, 1 << 20)

    return write


def by_library(opened):
    def write(plain, to):
        with open(plain, "rb") as file, opened(to) as out:
            shutil.copyfileobj(file, out, 1 << 20)

    return write


def by_program(*argv):
    def write(plain, to):
        with open(plain, "rb") as file, open(to, "wb") as out:
            subprocess.run(argv, stdin=file, stdout=out, check=True)

    return write


def zipped(plain, to):
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.write(plain, "export.csv")


BACKSLASH = {"escapeChar": "\\", "doubleQuote": False}

FORMS = [
    Form("tab", "tabs between cells", by_csv(delimiter="\t"), {"delimiter": "\t"}),
    Form("all-quoted", "every cell in quotes", by_csv(quoting=csv.QUOTE_ALL)),
    Form("backslash", "every cell in quotes, backslash before quotes", by_csv(quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"), BACKSLASH),
    Form("bare", "no quotes, backslash escapes", bare, {"delimiter": "|", "quoteChar": "", "escapeChar": "\\"}),
    Form("two-signs", "two signs between cells", two_signs, {"delimiter": "||"}),
    Form("spaced", "a space behind each delimiter", spaced, {"skipInitialSpace": True}),
    Form("comments", "comment lines", commented, {"commentChar": "#"}),
    Form("local", "decimal commas, D.M.Y, seconds, words for no value", local, {"delimiter": ";"}, schema=local_schema),
    Form("windows-1252", "windows-1252", recoded("cp1252"), options=["--encoding", "windows-1252"], apart=["iconv", "-f", "windows-1252", "-t", "utf-8"]),
    Form("utf-16", "UTF-16", recoded("utf-16"), apart=["iconv", "-f", "utf-16", "-t", "utf-8"]),
    Form("gzip", "gzip", by_library(lambda to: gzip.open(to, "wb", 6)), apart=["gzip", "-dc"]),
    Form("zip", "zip", zipped, apart=["gzip", "-dc"]),
    Form("zstd", "zstd", by_program("zstd", "-q", "-c"), apart=["zstd", "-dc"]),
    Form("bzip2", "bzip2", by_library(lambda to: bz2.open(to, "wb", 6)), apart=["bzip2", "-dc"]),
]


def prepared(form, plain, data, schema):
    """The file in this form and the options that it is validated with. Made once and kept."""
    stem = f"{plain.stem}.{form.name}"
    path = data / stem
    if not path.exists():
        half = data / f"{stem}.part"
        form.write(plain, half)
        half.rename(path)
    options = ["--schema", schema]
    if form.schema:
        own = data / f"{stem}.table.json"
        own.write_text(json.dumps(form.schema(json.loads(schema.read_text()))))
        options = ["--schema", own]
    if form.dialect:
        dialect = data / f"{stem}.dialect.json"
        dialect.write_text(json.dumps(form.dialect))
        options += ["--dialect", dialect]
    return path, [*options, *form.options]
