"""What is wrong with a run, its data or the wish is one line, or a page that works without."""

import errno
import json
import os
import shutil
import socket
import threading

import numpy as np
import pytest

import explorers
from command import ask
from latentmap.cli import main
from latentmap.exceptions import DataError
from latentmap.explorer import serving
from latentmap.explorer.answers import as_json


@pytest.fixture
def run(run_of_trees):
    return run_of_trees


@pytest.fixture
def served(monkeypatch):
    """What the command would serve: the explorations, the host and the port."""
    found = []

    def serve(explorations, host, listening, ready):
        with listening:
            found.append((explorations, host, listening.getsockname()[1]))
            ready(f"http://{host}:{listening.getsockname()[1]}/token/")

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(serving, "open_page", lambda url, failed: found.append(url))
    return found


def explore(capsys, *arguments):
    return ask(capsys, "explore", *arguments)


def test_a_run_is_explored_with_the_labels_and_ids_of_its_fit(capsys, run, served):
    answer = explore(capsys, run, "--json")
    assert answer.code == 0 and answer.json["url"].startswith("http://127.0.0.1:")
    ((one,), host, port), url = served
    assert host == "127.0.0.1" and url == answer.json["url"] and str(port) in url
    meta = as_json(one.meta())
    assert meta["name"] == "run" and meta["n"] == 120 and meta["ids"] and one.row(3).id == "tree 3"
    assert {"label", "column:height", "column:price"} <= one.fields.keys() and one.fields["label"].name == "kind"
    assert "column:name" not in one.fields and str(run) not in json.dumps(meta)
    waiting, ready = answer.err.splitlines()[-2:]
    assert waiting == "encoding 120 rows of trees.csv" and ready.startswith(f"exploring {run} at http://127.0.0.1:")
    assert explore(capsys, run, "--no-browser").code == 0 and len(served) == 3


def test_a_second_run_stands_beside_it(capsys, run, served):
    assert explore(capsys, run, "--no-browser", "--against", run).code == 0
    assert len(served[0][0]) == 2


def test_without_its_data_the_latent_space_is_explored_alone(capsys, run, served, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    origin = json.loads((moved / "data.json").read_text())
    (moved / "data.json").write_text(json.dumps(origin | {"data": str(tmp_path / "gone.csv")}))
    answer = explore(capsys, moved, "--no-browser")
    assert answer.code == 0 and "gone.csv: the latent space is explored alone; give the data" in answer.err
    one = served[0][0][0]
    assert one.rows is None and "explored alone" in one.notes[0] and one.decode([[0.0, 0.0]]).hole == [None]
    (moved / "data.json").unlink()
    answer = explore(capsys, moved, "--no-browser")
    assert answer.code == 0 and "does not say which data it was fitted to" in answer.err
    answer = explore(capsys, moved, tmp_path / "gone.csv", "--no-browser")
    assert answer.code == 1 and answer.errors == [f"error: no such file: {tmp_path / 'gone.csv'}"]


def test_changed_data_are_explored_and_said(capsys, run, served, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(run, changed)
    (tmp_path / "trees.csv").write_text("\n".join(explorers.trees().splitlines()[:90]) + "\n")
    origin = json.loads((changed / "data.json").read_text())
    (changed / "data.json").write_text(json.dumps(origin | {"data": str(tmp_path / "trees.csv")}))
    answer = explore(capsys, changed, "--no-browser")
    assert answer.code == 0 and "note: " in answer.err and "has changed since the fit" in answer.err
    assert len(served[0][0][0].points) == 89 and served[0][0][0].notes == ["trees.csv has changed since the fit"]
    (tmp_path / "trees.csv").write_text("height\n1\n2\n")
    answer = explore(capsys, changed, "--no-browser")
    assert answer.code == 0 and "explored alone" in answer.err and served[-1][0][0].rows is None


def test_rows_beyond_memory_are_sampled_evenly(capsys, run, served, monkeypatch):
    from latentmap.explorer import rows

    monkeypatch.setattr(rows, "fits", lambda source, memory: False)
    monkeypatch.setattr(rows, "MOST_VALUES", 40)
    answer = explore(capsys, run, "--no-browser")
    one = served[0][0][0]
    n = len(one.points)
    assert answer.code == 0 and 1 < n < 120 and f"note: {n} of 120 rows are shown, evenly spaced" in answer.err
    assert one.meta()["total"] == 120 and f"{n} of 120 rows are shown, evenly spaced" in one.notes
    last = int(one.rows.numbers[-1])
    assert one.row(n - 1).id == f"tree {last}" and last > 60
    assert one.save([n - 1], "csv", "label").decode().splitlines()[-1] == f"tree {last},1"


@pytest.mark.parametrize(
    ("code", "message", "arguments"),
    [
        (1, "expected the folder of a saved run", ["{folder}"]),
        (1, "expected the folder of a saved run", ["{folder}/nothing"]),
        (2, "--port must be from 0 to 65535, got 70000", ["{run}", "--port", "70000"]),
        (2, "--port: expected a whole number, got 'x'", ["{run}", "--port", "x"]),
        (1, "cannot be taken", ["{run}", "--host", "203.0.113.7", "--no-browser"]),
        (1, "no such file", ["{run}", "{folder}/x.csv"]),
        (2, "--given is for conditional models", ["{run}", "--given", "1"]),
        (1, "expected the folder of a saved run", ["{run}", "--against", "{folder}"]),
        (2, "RUN is missing", []),
    ],
)
def test_what_is_wrong_is_one_line(capsys, run, served, tmp_path, code, message, arguments):
    given = [text.format(run=run, folder=tmp_path) for text in arguments]
    answer = explore(capsys, *given)
    assert answer.code == code, answer.err
    assert len(answer.errors) == 1 and message in answer.errors[0] and answer.out == "" and not served


def test_a_host_that_others_reach_is_warned_of(capsys, run, served):
    answer = explore(capsys, run, "--no-browser", "--host", "0.0.0.0", "--port", "0")
    assert answer.code == 0 and "note: --host 0.0.0.0: whoever can reach this machine" in answer.err
    assert "note" not in explore(capsys, run, "--no-browser", "--host", "localhost").err


def test_the_next_port_is_taken_unless_one_is_given(monkeypatch):
    with serving.bound("127.0.0.1", 0) as taken:
        assert taken.proto == socket.IPPROTO_TCP  # else asyncio sets no TCP_NODELAY, and each answer takes 40 ms more
        port = taken.getsockname()[1]
        monkeypatch.setattr(serving, "PORT", port)
        with serving.bound("127.0.0.1", None) as other:
            assert port < other.getsockname()[1] < port + serving.TRIED
        with pytest.raises(DataError, match=f"port {port} of 127.0.0.1 is in use: give another --port"):
            serving.bound("127.0.0.1", port)
        monkeypatch.setattr(serving, "TRIED", 1)
        with pytest.raises(DataError, match="are all in use"):
            serving.bound("127.0.0.1", None)


def test_no_other_error_of_a_port_is_tried_again(monkeypatch):
    tried = []

    class Refused(socket.socket):
        def bind(self, address):
            tried.append(address)
            raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refused)
    with pytest.raises(DataError, match=r"cannot be taken \(Permission denied\)"):
        serving.bound("127.0.0.1", None)
    assert len(tried) == 1


def test_a_missing_server_names_the_extra(capsys, run, monkeypatch):
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: None)
    answer = explore(capsys, run, "--no-browser")
    assert answer.code == 1 and 'pip install "latentmap[explore]"' in answer.errors[0]


def test_browsers_that_take_the_terminal_are_not_started(monkeypatch):
    class Browser:
        def __init__(self, name):
            self.name, self.opened = name, []

        def open(self, url):
            self.opened.append(url)
            return True

    failed = threading.Event()
    for name, started in (("/usr/bin/lynx", False), ("firefox", True)):
        browser = Browser(name)
        monkeypatch.setattr(serving.webbrowser, "get", lambda browser=browser: browser)
        failed.clear()
        serving.open_page("http://x/", failed.set).join(5)
        assert (browser.opened == ["http://x/"]) == started == (not failed.is_set())


def test_a_conditional_model_is_explored_for_one_label(capsys, served, tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    np.savez(tmp_path / "x.npz", X=rng.normal(size=(80, 3)) + y[:, None], y=np.where(y, "oak", "elm"))
    options = ("--labels", "y", "--set", "condition=labels", "--set", "max_epochs=2", "--no-report")
    assert main(["fit", str(tmp_path / "x.npz"), "-o", str(tmp_path / "run"), *options]) == 0
    assert explore(capsys, tmp_path / "run", "--no-browser", "--given", "oak").code == 0
    one = served[0][0][0]
    assert "40 of 80 rows are shown, those with the label oak" in one.notes
    assert one.name == "run, given oak" and len(one.points) == 40 and set(one.rows.labels) == {"oak"}
    os.remove(tmp_path / "x.npz")
    answer = explore(capsys, tmp_path / "run", "--no-browser")
    assert answer.code == 0 and served[-1][0][0].decode([[0.0, 0.0]]).items
