"""The command `latentmap explore` as a process: it answers many at once, and its end frees the port."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest

CLIENTS = 50
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def run(run_of_trees):
    return run_of_trees


class Explorer:
    """A process of the command, and its address."""

    def __init__(self, *arguments, **environment):
        command = [sys.executable, "-m", "latentmap", "explore", *map(str, arguments), "--json"]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, **settings)
        printed = ""
        while not printed.rstrip().endswith("}"):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            printed += line
        self.url = urlsplit(json.loads(printed)["url"])

    def ask(self, method, name, body=None, headers=None, timeout=60):
        """Return status and body of a request."""
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, f"{self.url.path}{name}", body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read()

    def end(self, number=signal.SIGINT):
        """Send a signal, and return exit code, seconds and standard error."""
        begun = time.monotonic()
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, time.monotonic() - begun, errors


@pytest.fixture
def explorer(run):
    started = Explorer(run, "--no-browser", "--port", 0)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def test_many_clients_at_once_get_their_own_answers(explorer):
    def client(i):
        answers = []
        for step in range(4):
            z = [[float(i) / CLIENTS, float(step)]]
            status, body = explorer.ask("POST", "api/decode", json.dumps({"z": z}))
            _, path = explorer.ask("POST", "api/path", json.dumps({"from": z[0], "to": i, "n": 2}))
            _, row = explorer.ask("GET", f"api/row?i={i}")
            slow, _ = explorer.ask("GET", f"api/field?key={['evidence', 'trust', 'density', 'label'][step]}")
            answers.append((status, slow, json.loads(body)["items"], json.loads(path), json.loads(row)["id"]))
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(client, range(CLIENTS)))
    for i, answers in enumerate(found):
        for step, (status, slow, items, path, name) in enumerate(answers):
            assert status == slow == 200 and name == f"tree {i}"
            np.testing.assert_allclose(path["z"][0], [i / CLIENTS, step], rtol=1e-6)
            for one, other in zip(path["items"][0]["cells"], items[0]["cells"], strict=True):
                assert one["at"] == pytest.approx(other["at"], abs=1e-4)
    code, _, errors = explorer.end()
    assert code == 0 and "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_frees_the_port(run, explorer, number):
    port = explorer.url.port
    open_one = http.client.HTTPConnection(explorer.url.hostname, port, timeout=60)
    open_one.request("GET", explorer.url.path)  # a page that stays open
    assert open_one.getresponse().read()
    code, seconds, errors = explorer.end(number)
    assert code in ((0,) if number == signal.SIGINT else (-signal.SIGTERM, 143)) and seconds < 20
    assert "Traceback" not in errors and "error" not in errors
    open_one.close()
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_a_port_in_use_is_left_alone(run, explorer):
    port = explorer.url.port
    refused = subprocess.run(
        [sys.executable, "-m", "latentmap", "explore", str(run), "--no-browser", "--port", str(port)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr.splitlines()[-1] == (
        f"error: port {port} of 127.0.0.1 is in use: give another --port, or none to take the next that is free"
    )
    assert explorer.ask("GET", "api/meta")[0] == 200


def test_a_browser_that_cannot_start_is_said(run):
    nothing = shutil.which("false")
    started = Explorer(run, "--port", 0, BROWSER=nothing, DISPLAY="", WAYLAND_DISPLAY="")
    assert started.ask("GET", "")[0] == 200
    code, _, errors = started.end()
    assert code == 0 and "note: no browser could be started: open http://127.0.0.1:" in errors


def test_nothing_of_the_folder_of_a_run_is_executed(run, tmp_path):
    """Code, a page and links that a stranger has put into a run folder are neither run nor served."""
    stranger = tmp_path / "stranger"
    shutil.copytree(run, stranger)
    mark = tmp_path / "executed"
    code = f"open({str(mark)!r}, 'w').close()"
    for name in ("sitecustomize.py", "latentmap.py", "encoder.py", "__init__.py", "conftest.py", "uvicorn.py"):
        (stranger / name).write_text(code)
    (stranger / "page").mkdir()
    (stranger / "page" / "index.html").write_text("<script>stranger</script>")
    (stranger / "index.html").write_text("<script>stranger</script>")
    started = Explorer(stranger, "--no-browser", "--port", 0)
    status, body = started.ask("GET", "")
    assert status == 200 and b"stranger" not in body
    assert started.ask("GET", "sitecustomize.py")[0] == started.ask("GET", "page/index.html")[0] == 404
    assert started.end()[0] == 0 and not mark.exists()
