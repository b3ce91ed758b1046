"""The page's server: its answers, what it refuses, and that nothing that comes from outside makes it fail."""

import asyncio
import base64
import io
import json
import logging
import threading

import numpy as np
import pytest
from PIL import Image

import explorers
from explorers import HOST, TOKEN, Page
from latentmap.explorer import guard
from latentmap.explorer.answers import as_json
from latentmap.explorer.guard import HEADERS, MOST_BYTES

REQUESTS = 10_000
OWN = [(b"host", HOST.encode())]


@pytest.fixture(scope="module")
def explored(plain):
    return plain


@pytest.fixture(scope="module")
def page(explored):
    return Page(explored)


@pytest.fixture(scope="module")
def three(explored, trees, shown):
    """Pages of numbers, of a table, and of pictures beside numbers."""
    return [Page(explored), Page(trees), Page(shown, explored)]


def test_answers_are_those_of_the_exploration(page, explored):
    n = len(explored.rows)
    assert page.get("meta").json["fields"] == as_json(explored.meta())["fields"]
    points = np.frombuffer(page.get("points").body, "<f4").reshape(n, 2)
    np.testing.assert_array_equal(points, explored.points)
    label = np.frombuffer(page.get("field", "key=label").body, "<u2")
    np.testing.assert_array_equal(label, explored.rows.values[:, 0] > 0)
    column = np.frombuffer(page.get("field", "key=column%3Ax1").body, "<f4")
    assert np.isnan(column[3]) and column[4] == np.float32(explored.rows.values[4, 1])
    assert page.get("ids").json[:2] == ["id-0", "id-1"]
    assert page.get("row", "i=3").json == as_json(explored.row(3))
    assert page.post("decode", {"z": [[0, 0.5]]}).json == as_json(explored.decode([[0, 0.5]]))
    plane = page.get("density", "x=0&y=1").json
    values = np.frombuffer(base64.b64decode(plane["values"]), "<f4").reshape(plane["size"], -1)
    np.testing.assert_array_equal(values, explored.density(0, 1).values)
    assert page.post("path", {"from": 1, "to": [0, 0], "n": 4, "along": "density"}).json["z"][3] == [0, 0]
    assert page.get("nearest", "i=3&k=2").json["rows"] == explored.nearest(3, 2)
    assert page.get("search", "q=id-7").json["rows"][0] == {"i": 7, "text": "id-7"}
    assert page.post("samples", {"n": 2, "seed": 5}).json == as_json(explored.samples(2, 5))
    assert page.post("encode", b"1,2,3,4,5", kind="text/plain").json["item"]["cells"][4]["text"] == "5"
    chosen = np.array([4, 2], "<u4").tobytes()
    assert page.post("selection", chosen).json == as_json(explored.selection([2, 4]))
    saved = page.post("save", chosen, "format=csv&as=rows")
    assert saved.body == explored.save([2, 4], "csv", "rows")
    assert saved.headers["content-disposition"] == 'attachment; filename="selection.csv"'


def test_every_answer_has_the_headers_of_security(page):
    replies = [
        page.ask("GET", f"/{TOKEN}/"),
        page.get("meta"),
        page.get("nothing"),
        page.get("row", "i=x"),
        page.ask("GET", "/"),
        page.get("meta", headers=[(b"host", b"evil.example")]),
        page.post("decode", {"z": [[0, 0]]}),
    ]
    assert [reply.status for reply in replies] == [200, 200, 404, 400, 404, 403, 200]
    for reply in replies:
        for name, value in HEADERS:
            assert reply.headers[name.decode()] == value.decode()
        assert "access-control-allow-origin" not in reply.headers
    policy = replies[0].headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "style-src 'self';" in policy
    assert "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize(
    "path",
    ["/", "", "/api/meta", f"/{TOKEN}", f"/{TOKEN[:-1]}/api/meta", f"/{TOKEN}x/", f"//{TOKEN}/", "/\udcff/", "/é/"],
)
def test_without_the_token_there_is_nothing(page, path):
    reply = page.ask("GET", path) if path.isascii() else asyncio.run(_odd(page, path))
    assert reply.status == 404 and reply.body == b""


async def _odd(page, path):
    return await page.send("GET", path.encode("utf-8", "replace").decode())


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"host", b"evil.example:8765")],
        [(b"host", b"127.0.0.1:8766")],
        [(b"host", b"127.0.0.1")],
        [*OWN, (b"host", b"evil.example")],
        [*OWN, (b"origin", b"http://evil.example")],
        [*OWN, (b"origin", b"null")],
        [*OWN, (b"origin", b"https://127.0.0.1:8765")],
        [*OWN, (b"origin", b"http://localhost:8765")],
        [*OWN, (b"origin", b"http://127.0.0.1:8765"), (b"origin", b"http://evil.example")],
    ],
)
def test_other_hosts_and_origins_are_refused(page, headers):
    reply = page.get("meta", headers=headers)
    assert reply.status == 403 and reply.body == b""


def test_own_hosts_and_origins_are_answered(page, explored):
    for host in (HOST, "localhost:8765", "LOCALHOST:8765"):
        own = [(b"host", host.encode())]
        assert page.get("meta", headers=own).status == 200
        assert page.get("meta", headers=[*own, (b"origin", f"http://{host}".encode())]).status == 200
    everywhere = Page(explored, port=8765)
    status = {
        host: everywhere.get("meta", headers=[(b"host", host.encode())]).status
        for host in ("192.168.1.2:8765", "[fe80::1]:8765", "192.168.1.2:1", "evil.example:8765", "192.168.1.2")
    }
    assert list(status.values()) == [200, 200, 403, 403, 403]


def test_websockets_are_closed(page):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": f"/{TOKEN}/api/meta", "headers": OWN, "query_string": b""}
    asyncio.run(page.app(scope, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_large_bodies_are_refused(page, monkeypatch):
    assert page.ask("POST", f"/{TOKEN}/api/encode", headers=[*OWN, (b"content-length", b"20000001")]).status == 413
    for length in (b"-1", b"9" * 5000, b"", b"1e3"):
        assert page.ask("POST", f"/{TOKEN}/api/encode", headers=[*OWN, (b"content-length", length)]).status == 413
    twice = [*OWN, (b"content-length", b"1"), (b"content-length", b"20000001")]
    assert page.ask("POST", f"/{TOKEN}/api/encode", headers=twice).status == 413
    monkeypatch.setattr(guard, "MOST_BYTES", 3_000_000)  # without a length, counted as they come
    assert page.post("encode", bytes(4_000_000), length=False, kind="text/plain").status == 413
    assert page.post("encode", bytes(2_000_000), length=False, kind="text/plain").status == 400
    assert page.get("search", "q=" + "x" * 5000).status == 414
    assert MOST_BYTES == 20_000_000


@pytest.mark.parametrize(
    ("name", "body", "query", "message"),
    [
        ("row", None, "", "i: expected a whole number"),
        ("row", None, "i=1.5", "i: expected a whole number"),
        ("row", None, "i=%D9%A1", "i: expected a whole number"),
        ("row", None, "i=1000", "expected a row from 0 to 199"),
        ("row", None, "i=0&run=1", "run: expected a whole number from 0 to 0"),
        ("field", None, "key=../../etc/passwd", "key: expected the key of a field"),
        ("density", None, "x=0&y=0", "x and y: expected two of the components"),
        ("nearest", None, "i=0&k=0", "k: expected a whole number from 1 to 100"),
        ("decode", b"", "", "expected a JSON object"),
        ("decode", b"[" * 100_000, "", "expected a JSON object"),
        ("decode", b"[1]", "", "expected a JSON object"),
        ("decode", b'{"z": ' + b"1" * 5000 + b"}", "", "expected a JSON object"),
        ("decode", {}, "", "expected 1 to 256 codes"),
        ("decode", {"z": [[1, None]]}, "", "expected 1 to 256 codes"),
        ("decode", {"z": {"a": 1}}, "", "expected 1 to 256 codes"),
        ("decode", b'{"z": [[NaN, 0]]}', "", "expected 1 to 256 codes"),
        ("decode", b'{"z": [[1e999, 0]]}', "", "expected 1 to 256 codes"),
        ("path", {"from": 0}, "", "from and to: expected"),
        ("path", {"from": 0, "to": "1"}, "", "from and to: expected"),
        ("path", {"from": 0, "to": 1, "n": 1e9}, "", "n: expected a whole number"),
        ("path", {"from": 0, "to": 1, "n": 10**30}, "", "n: expected a whole number from 2 to 64"),
        ("path", {"from": 0, "to": 1, "along": "/"}, "", "along: expected straight or density"),
        ("samples", {"n": 0}, "", "n from 1 to 64"),
        ("samples", {"n": 1, "seed": -1}, "", "a seed from 0"),
        ("selection", b"123", "", "row numbers of four bytes"),
        ("selection", b"\xff\xff\xff\xff", "", "rows from 0 to 199"),
        ("save", b"", "format=csv", "as=rows or label"),
        ("save", b"", "format=../x&as=rows", "format=csv or parquet"),
        ("encode", b"1,2,3,4,5", "", "expected a picture"),
    ],
)
def test_malformed_requests_are_one_line(page, name, body, query, message):
    reply = page.get(name, query) if body is None else page.post(name, body, query)
    assert reply.status == 400 and reply.json.keys() == {"error"}
    assert message in reply.json["error"] and "\n" not in reply.json["error"] and len(reply.json["error"]) < 400


def test_other_methods_and_files_are_not_served(page):
    assert page.ask("POST", f"/{TOKEN}/api/meta").status == 405
    assert page.ask("GET", f"/{TOKEN}/api/decode").status == 405
    assert page.ask("DELETE", f"/{TOKEN}/").status == 405
    assert page.get("meta/").status == 404 and "location" not in page.get("meta/").headers
    for path in (
        "../__init__.py",
        "assets/../../server.py",
        "page/index.html",
        "assets/",
        "api/",
        "/etc/passwd",
        "map.js/x",
    ):
        assert page.ask("GET", f"/{TOKEN}/{path}").status == 404


def test_two_runs_are_linked_where_they_have_the_same_rows(explored):
    other = explorers.numbers(max_epochs=2)
    both = Page(explored, other)
    assert both.get("meta").json["linked"] and both.get("meta", "run=1").json["runs"] == [{"name": "numbers"}] * 2
    assert both.get("points", "run=1").body == other.points.astype("<f4").tobytes() != both.get("points").body
    assert not Page(explored, explorers.numbers(n=150)).get("meta").json["linked"]
    assert not Page(explored).get("meta").json["linked"]


def test_a_fault_is_one_line_here_and_in_the_terminal(explored, caplog, monkeypatch):
    monkeypatch.setattr(type(explored), "search", lambda self, text: 1 / 0)
    reply = Page(explored).get("search", "q=x")
    assert reply.status == 500 and reply.json == {"error": "this cannot be answered; the terminal says why"}
    (record,) = caplog.records
    assert record.getMessage() == "/api/search failed: ZeroDivisionError: division by zero" and not record.exc_info


def test_slow_work_waits_for_quick_answers_and_ends():
    from latentmap.exceptions import DataError
    from latentmap.explorer.turns import Turns

    turns, order = Turns(), []

    def slow():
        with turns.slow():
            started.set()
            release.wait(5)
            turns.step()
            order.append("slow")

    started, release = threading.Event(), threading.Event()
    thread = threading.Thread(target=slow)
    with turns.quick():
        thread.start()
        assert started.wait(5)
        release.set()
        thread.join(0.02)
        order.append("quick")
    thread.join(5)
    assert order == ["quick", "slow"]
    turns.stop()
    with pytest.raises(DataError, match="has ended"):
        turns.step()


# ---- 10,000 requests at random

NAMES = {
    "GET": ("meta", "points", "field", "ids", "density", "row", "nearest", "search", "", "nothing", "../server.py"),
    "POST": ("decode", "path", "selection", "save", "samples", "encode", "meta", "nothing"),
}
KEYS = ("i", "x", "y", "k", "run", "key", "q", "format", "as", "n", "", "__class__")
TEXTS = ("0", "1", "-1", "199", "200", "1e3", "label", "column:x0", "density", "csv", "parquet", "rows", "label", "é",
         "%00", "%ff", "9" * 30, "../..", "' OR 1=1", "<script>", "nan", "x" * 300)  # fmt: skip
KINDS = (None, "text/plain", "image/png", "image/svg+xml", "application/json", "multipart/form-data", "x" * 99, "é")


def value(rng, depth=0):
    """Return a made-up value of JSON."""
    options = [None, True, 0, 1, -1, 3.5, 1e308, 10**40, "", "x", "straight", "density", float("nan"), float("inf")]
    if depth < 3 and rng.random() < 0.5:
        items = [value(rng, depth + 1) for _ in range(rng.integers(0, 4))]
        return items if rng.random() < 0.7 else {str(rng.choice(["z", "from", "n", "x0", ""])): one for one in items}
    return options[rng.integers(len(options))]


def request(rng, pictures):
    """Return a request: a good one of which parts are replaced, cut or changed."""
    method = "GET" if rng.random() < 0.4 else "POST"
    path = f"/{TOKEN}/api/{rng.choice(NAMES[method])}"
    query = "&".join(f"{rng.choice(KEYS)}={rng.choice(TEXTS)}" for _ in range(rng.integers(0, 4)))
    good = {"z": [[0.5, -0.5]], "from": 1, "to": [0.0, 0.0], "n": 3, "along": "density", "seed": 1}
    choice = rng.random()
    if choice < 0.5:
        changed = {key: value(rng) if rng.random() < 0.4 else one for key, one in good.items() if rng.random() < 0.9}
        body = json.dumps(changed).encode()
    elif choice < 0.7:
        body = rng.integers(0, 256, rng.integers(0, 64), dtype=np.uint8).tobytes()
    elif choice < 0.85:
        body = rng.integers(0, 260, rng.integers(0, 8), dtype=np.uint32).tobytes()
    else:
        body = pictures[rng.integers(len(pictures))]
    if rng.random() < 0.3 and body:  # damaged
        at = rng.integers(len(body))
        body = body[:at] + bytes([rng.integers(256)]) + body[at + (rng.random() < 0.5) :]
    headers = list(OWN)
    if rng.random() < 0.1:
        odd = [
            (b"host", b"x"),
            (b"origin", b"http://x"),
            (b"content-length", b"x"),
            (b"host", b""),
            (b"x", b"\xff" * 50),
        ]
        headers.append(odd[rng.integers(len(odd))])
    if rng.random() < 0.1:
        path = path[: rng.integers(len(path))] + str(rng.choice(["/", "..", "\x00", "é", "%2e"]))
    if rng.random() < 0.05:
        method = str(rng.choice(["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "GETT"]))
    kind = KINDS[rng.integers(len(KINDS))]
    kind = kind if kind is None or kind.isascii() else None
    return {"method": method, "path": path, "query": query, "headers": headers, "body": body, "kind": kind}


def test_requests_at_random_are_answered_or_refused(three, caplog):
    buffer = io.BytesIO()
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(buffer, "png")
    given = [
        buffer.getvalue(),
        b"1,2,3,4,5",
        b'{"kind": "elm", "height": 3}',
        b"kind,height\noak,3",
        b"\xef\xbb\xbf1,2,3,4,5",
    ]
    rng, counts = np.random.default_rng(0), {}

    async def run():
        for i in range(REQUESTS):
            asked = request(rng, given)
            reply = await three[i % 3].send(**asked)
            counts[reply.status] = counts.get(reply.status, 0) + 1
            assert reply.status in (200, 400, 403, 404, 405, 413), (asked, reply)
            if reply.status == 400:
                (message,) = reply.json.values()
                assert message and "\n" not in message and "Traceback" not in message, asked
            elif reply.status != 200:
                assert len(reply.body) < 50, asked

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert not caplog.records
    assert min(counts[status] for status in (200, 400, 403, 404, 405, 413)) > 30, counts
    assert three[0].get("row", "i=3").status == 200
