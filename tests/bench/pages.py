"""The review page over a run of a million rows: how long people wait for each of its pages."""

import html
import http.client
import re
import statistics
import time

#: Rounds over all pages. The first one reads the ledger cold.
ROUNDS = 12
WHO = {"X-Remote-User": "bench"}


class Reader:
    """A browser as far as the server sees one: one connection, one cookie."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookie = {}

    def get(self, path):
        """The text of a page, and the seconds it took to come."""
        started = time.monotonic()
        self.connection.request("GET", path, headers=WHO | self.cookie)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        took = time.monotonic() - started
        if given := answer.headers.get("Set-Cookie"):
            self.cookie = {"Cookie": given.split(";")[0]}
        if answer.status != 200:
            raise SystemExit(f"{path} answers {answer.status}: {text[:500]}")
        return text, took

    def link(self, path, link):
        """Where a link on a page leads."""
        text, _ = self.get(path)
        return html.unescape(re.search(link, text)[1])


def settings(port):
    return f"""
[review]
listen = "127.0.0.1:{port}"
proxy = {{ from = ["127.0.0.1"], header = "X-Remote-User", approvers = ["bench"] }}
"""


def pages(reader, run, rows):
    """What people open, by what it is called in the table. Deep pages are reached as people reach them: by going on, or by a line."""
    all_rows = f"/runs/{run}/rows?outcome=applied"
    second = reader.link(all_rows, r'rel="next" href="([^"]+)"')
    middle = f"/runs/{run}/rows?line={rows // 2}"
    return {
        "overview": "/",
        "history": "/runs",
        "run": f"/runs/{run}",
        "its rows": all_rows,
        "the second page of them": second,
        "rejected rows": f"/runs/{run}/rows?outcome=rejected",
        "rows of one code": f"/runs/{run}/rows?code=type-error",
        "a line in the middle": middle,
        "one row's story": reader.link(middle, rf'href="(/runs/{run}/rows/\d+)"'),
        "fix here": f"/runs/{run}/fix",
        "history by its name": "/runs?text=faulty",
    }


def measured(port, run, rows):
    """For each page: the median and the worst of what it took, in milliseconds, and its bytes."""
    reader = Reader(port)
    wanted = pages(reader, run, rows)
    times, sizes = {name: [] for name in wanted}, {}
    for _ in range(ROUNDS):
        for name, path in wanted.items():
            text, took = reader.get(path)
            times[name].append(took * 1000)
            sizes[name] = len(text.encode())
    return {name: (statistics.median(each), max(each), sizes[name]) for name, each in times.items()}
