"""The widget of a notebook: it answers what the page asks, by messages, and gives the selection back."""

import base64
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import latentmap
from browser import eventually, shoot
from latentmap import VAE
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.explorer import notebook
from latentmap.explorer.export_page import asset, is_built

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
DIGITS = load_digits()
needs_page = pytest.mark.skipif(not is_built(), reason="the page is not built: run make page")


@pytest.fixture(scope="module")
def vae():
    return VAE(2, max_epochs=2, neighbors=None, random_state=0).fit(DIGITS.images[:200])


class Comm:
    """The messages between a widget and a page, without a kernel."""

    comm_id = "one"
    kernel = "none"

    def __init__(self, **_):
        self.sent, self.heard = [], None

    def send(self, data=None, metadata=None, buffers=None):
        self.sent.append((data, buffers))

    def on_msg(self, callback):
        self.heard = callback

    def open(self, *_, **__):
        pass

    def close(self, *_, **__):
        pass


@pytest.fixture
def widget(vae):
    pytest.importorskip("anywidget")
    widget = latentmap.explore(vae, DIGITS.images[:200], DIGITS.target[:200], name="digits")
    widget.comm = Comm()
    yield widget
    widget.close()


def hear(widget, data, buffers=()):
    """Let a widget hear what a page sends."""
    widget._handle_msg({"content": {"data": data}, "buffers": [memoryview(one) for one in buffers]})


def ask(widget, name, query="", body=None, kind=""):
    """Send a request as the page does, and return status and content of the answer."""
    number = str(len(widget.comm.sent))
    content = {"id": number, "name": name, "query": query, "type": kind, "method": "GET" if body is None else "POST"}
    hear(widget, {"method": "custom", "content": content}, () if body is None else (body,))
    head, answer = eventually(lambda: answer_to(widget, number), 20)
    return head["status"], answer


def answer_to(widget, number):
    """Return head and body of the answer to a request, once it is there."""
    custom = (pair for pair in list(widget.comm.sent) if pair[0].get("method") == "custom")
    return next(((data["content"], bytes(rest[0])) for data, rest in custom if data["content"]["id"] == number), None)


@needs_page
def test_it_answers_as_the_server_does(widget):
    status, content = ask(widget, "meta", "run=0")
    meta = json.loads(content)
    assert (status, meta["n"], meta["name"]) == (200, 200, "digits")
    status, content = ask(widget, "points", "run=0")
    np.testing.assert_array_equal(np.frombuffer(content, "<f4").reshape(-1, 2), widget.exploration.points)
    body = json.dumps({"z": [[0.0, 0.5]]}).encode()
    status, content = ask(widget, "decode", "run=0", body, "application/json")
    assert status == 200 and len(json.loads(content)["items"]) == 1
    chosen = np.arange(20, dtype="<u4").tobytes()
    status, content = ask(widget, "selection", "run=0", chosen, "application/octet-stream")
    assert status == 200 and json.loads(content)["count"] == 20


@needs_page
def test_wrong_requests_are_answered_in_one_line(widget):
    for name, query, body in (
        ("field", "key=nothing", None),
        ("decode", "", b"{"),
        ("row", "i=-1", None),
        ("nothing", "", None),
        ("../meta", "", None),
    ):
        status, content = ask(widget, name, query, body, "application/json")
        assert 400 <= status < 500 and b"Traceback" not in content
    hear(widget, {"method": "custom", "content": "no request"})
    assert ask(widget, "meta")[0] == 200, "it still answers"
    assert ask(widget, "decode", "", bytes(notebook.MOST_BODY + 1))[0] == 413


def choose(widget, *rows):
    """Select rows, as the page does."""
    hear(widget, {"method": "update", "state": {}, "buffer_paths": [["selection"]]}, rows)


@needs_page
def test_the_selection_comes_back_as_indices(widget):
    told = []
    widget.observe(lambda change: told.append(change["new"].tolist()), "selection")
    assert widget.selection.tolist() == []
    for rows in ([3, 5, 190], [7], []):
        choose(widget, np.array(rows, "<u4").tobytes())
        assert widget.selection.tolist() == rows
    assert told == [[3, 5, 190], [7], []]
    assert DIGITS.images[:200][widget.selection].shape == (0, 8, 8)


HARNESS = """
const heard = [];
const toBytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const toText = (buffer) => btoa(Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join(""));
window.model = {
  state: {},
  set(name, value) { this.state[name] = value; },
  save_changes() { toPython("selection", null, toText(this.state.selection.buffer)); },
  async send(content, _, buffers) {
    const [answer, body] = await toPython("custom", content, buffers.length ? toText(buffers[0]) : null);
    for (const callback of heard) callback(answer, [new DataView(toBytes(body).buffer)]);
  },
  on(_, callback) { heard.push(callback); },
  off() {},
};
"""


@needs_page
def test_a_notebook_shows_it_and_gives_the_selection_back(widget, pages, tmp_path):
    def to_python(kind, content, body):
        sent = () if body is None else (base64.b64decode(body),)
        if kind == "selection":
            choose(widget, *sent)
            return None
        hear(widget, {"method": "custom", "content": content}, sent)
        head, body = eventually(lambda: answer_to(widget, content["id"]))
        return [head, base64.b64encode(body).decode()]

    page = pages("about:blank", wait=None)
    page.expose_function("toPython", to_python)
    page.add_style_tag(content=asset("widget.css"))
    page.evaluate(HARNESS)
    code, exports = re.subn(r"export\s*\{\s*(\w+) as default\s*\};?\s*$", r"const made = \1;", asset("widget.js"))
    assert exports == 1
    page.add_script_tag(content=f"{code}\nmade.render({{model, el: document.body}});", type="module")
    page.get_by_text("200 rows", exact=True).wait_for()
    box = page.locator(".map").bounding_box()
    page.wait_for_function("document.querySelector('.map').dataset.frames > 0")
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.get_by_test_id("hover").wait_for()
    shoot(page, "notebook", tmp_path)
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    for x, y in ((0.98, 0.01), (0.98, 0.98), (0.01, 0.98), (0.01, 0.02)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    eventually(lambda: page.evaluate("true") and len(widget.selection) > 100)
    assert set(widget.selection.tolist()) <= set(range(200))


@needs_page
def test_rows_that_do_not_fit_are_refused(vae):
    pytest.importorskip("anywidget")
    with pytest.raises(DataError, match="one value for each"):
        latentmap.explore(vae, DIGITS.images[:200], DIGITS.target[:3])


def test_without_anywidget_the_command_is_said(vae, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    notebook._widget_class.cache_clear()
    with pytest.raises(MissingExtraError, match=r'pip install "latentmap\[notebook\]"'):
        latentmap.explore(vae, DIGITS.images[:200])


def test_the_name_loads_no_widget():
    code = "import sys, latentmap; latentmap.explore; assert 'anywidget' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
