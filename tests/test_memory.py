"""Memory: what a fit needs is said before it starts, what runs out is one line, and fits leave nothing behind."""

import gc
import json
import re
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmap import VAE, likelihoods, networks, recipes
from latentmap.cli import main
from latentmap.data import memory
from latentmap.estimators import fit as fits
from latentmap.estimators.memory import Needs, needs_of, require_memory
from latentmap.exceptions import NotEnoughMemoryError
from latentmap.model.part import Sizes
from latentmap.training.loop import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
TINY = networks.MLP((8,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 4))


def needs(hidden, batch_size=32, samples=1, precise=False, **given):
    network = networks.MLP(hidden)
    parts = VAE(2, **given)._parts(given.get("encoder", network), given.get("decoder", network), likelihoods.Gaussian())
    return needs_of(parts, Sizes((10,), 2), batch_size, samples, 0.0, precise)


def test_needs_are_those_of_the_model():
    """Six copies of the weights, nine in double precision, and a half more than what layers return."""
    weights = (10 + 1) * 100 + (100 + 1) * 4 + (2 + 1) * 100 + (100 + 1) * 10
    assert needs((100,)).weights == pytest.approx(4 * 6 * weights, rel=0.02)
    assert needs((100,), precise=True).weights == 1.5 * needs((100,)).weights
    assert needs((100,), batch_size=50).batch == 4 * 1.5 * 50 * (
        100 + 100 + 4 + 100 + 100 + 10 + 10
    )  # and as rows by heads
    assert needs((100,), samples=5).batch > 2 * needs((100,)).batch


@pytest.mark.parametrize("name", ["maf", "rae_sn", "flow_prior", "vq", "ladder", "vamp"])
def test_needs_of_every_kind_of_part_are_known(name):
    given = {key: value for key, value in recipes.find(name)().items() if key != "ladder"}
    assert needs((500,), **given).weights > 4 * 6 * 500 * 10


def test_a_model_that_cannot_be_is_refused_before_it_is_made():
    network = networks.MLP((10**6, 10**6))
    with pytest.raises(NotEnoughMemoryError) as error:
        VAE(2, encoder=network, decoder=network, random_state=0).fit(X)
    text = str(error.value)
    assert "needs about 72,000 GB: rows" in text and "are free: give a smaller network" in text and "\n" not in text
    assert isinstance(error.value, MemoryError)


@pytest.mark.parametrize("part, advice", [("rows", "memory="), ("batch", "smaller batch_size"), ("weights", "network")])
def test_the_advice_is_about_what_is_large(part, advice):
    with pytest.raises(NotEnoughMemoryError, match=advice):
        require_memory(Needs(**{part: 1e18}), torch.device("cpu"))
    require_memory(Needs(**{part: 1e3}), torch.device("cpu"))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError("Unable to allocate 7.28 TiB for an array"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_during_a_fit_is_one_line(error, monkeypatch):
    vae = VAE(2, **QUICK).fit(X)
    before = vae.state_
    monkeypatch.setattr(Trainer, "_take_step", lambda *given: (_ for _ in ()).throw(error))
    with pytest.raises(NotEnoughMemoryError, match="the fit ran out of memory") as raised:
        vae.fit(X)
    assert raised.value.__cause__ is error and "\n" not in str(raised.value) and vae.state_ is before


@pytest.mark.parametrize("go_on", [lambda vae: vae.set_params(warm_start=True).fit(X), lambda vae: vae.partial_fit(X)])
def test_fits_that_go_on_say_what_they_need_before_they_start(go_on, monkeypatch):
    vae = VAE(2, **QUICK).fit(X)
    before, steps = vae.state_, []
    monkeypatch.setattr(Trainer, "_take_step", lambda *given: steps.append(given))
    monkeypatch.setattr("latentmap.estimators.memory.free_memory", lambda: 10**4)
    with pytest.raises(NotEnoughMemoryError, match="this fit needs about"):
        go_on(vae)
    assert not steps and vae.state_ is before


def test_info_says_what_a_fit_needs(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    found = []
    monkeypatch.setattr(fits, "require_memory", lambda needs, device: found.append(needs))
    VAE(2, neighbors=5, max_epochs=1, random_state=0).fit(X)
    assert main(["info", str(tmp_path / "x.npy"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["needs"] == {name: round(value) for name, value in vars(found[0]).items()}
    assert f"a fit would keep all of it, and needs about {found[0]}" in " ".join(said.err.split())
    monkeypatch.setattr("latentmap.estimators.memory.free_memory", lambda: 10**4)
    assert main(["info", str(tmp_path / "x.npy")]) == 0
    assert "fit would refuse: this fit needs about" in capsys.readouterr().err


def test_info_takes_the_memory_that_is_allowed(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((10**5, 10)) + np.arange(10))
    assert main(["info", str(tmp_path / "x.npy"), "--memory", "10MB"]) == 0
    assert "read it in blocks within 10.0 MB" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_runs_out_on_import_is_one_line(error, monkeypatch, capsys):
    monkeypatch.setattr("latentmap.cli.app.app", lambda *given, **named: (_ for _ in ()).throw(error))
    assert main(["info", "digits"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: not enough memory") and len(err.splitlines()) == 1
    monkeypatch.setattr("latentmap.cli.app.app", lambda *given, **named: (_ for _ in ()).throw(ImportError("no x")))
    with pytest.raises(ImportError, match="^no x$"):  # the control
        main(["info", "digits"])


def test_other_errors_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(Trainer, "_take_step", lambda *given: (_ for _ in ()).throw(RuntimeError("no such thing")))
    with pytest.raises(RuntimeError, match="^no such thing$"):
        VAE(2, **QUICK).fit(X)


def test_control_groups_and_their_parents_count(tmp_path, monkeypatch):
    """Of version 2, where files lie in the group's folder; what files of the page cache take is free."""
    monkeypatch.setattr(memory, "_groups", lambda base, controller: [tmp_path / "a" / "b", tmp_path / "a"])
    for folder, most in ((tmp_path / "a" / "b", "max"), (tmp_path / "a", "1000000")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(most)
        (folder / "memory.current").write_text("700000")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 150000\nactive_file 50000\nfile 7\n")
    assert list(memory._left_in_groups(tmp_path)) == [500_000]
    assert memory.free_memory() == 500_000


LIMITED = """
import resource, sys
import numpy as np, torch
from latentmap.cli import main
import latentmap.estimators.fit as fits
torch.set_num_threads(1)
if sys.argv[1] == "blind":
    fits.require_memory = lambda *given: None
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
sys.exit(main(sys.argv[2:]))
"""


@LINUX
@pytest.mark.parametrize("how, message", [("sees", "this fit needs about"), ("blind", "the fit ran out of memory")])
def test_a_limit_of_the_address_space_ends_in_one_line(tmp_path, how, message):
    np.save(tmp_path / "x.npy", X)
    wide = ["--set", "encoder=MLP(hidden=(12000, 12000))", "--epochs", "1", "--no-report"]
    command = [sys.executable, "-c", LIMITED, how, "fit", tmp_path / "x.npy", "-o", tmp_path / "run", *wide]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert message in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy"]


@LINUX
@pytest.mark.parametrize("option, kilobytes", [("v", 60_000), ("v", 1_000_000), ("v", 2_300_000), ("d", 1_000_000)])
def test_limits_below_what_the_libraries_need_are_refused_at_once(tmp_path, option, kilobytes):
    np.savetxt(tmp_path / "x.csv", X, delimiter=",")
    shell = f'ulimit -{option} {kilobytes} && ulimit -t 20 && exec "$0" -m latentmap info "$1"'
    command = ["bash", "-c", shell, sys.executable, str(tmp_path / "x.csv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout
    assert f"to load, and ulimit -{option} allows" in done.stderr


@pytest.mark.parametrize("settings", [{}, {"neighbors": None}, recipes.aae(network=TINY)], ids=["map", "plain", "game"])
def test_a_fit_is_freed_without_the_garbage_collector(settings, monkeypatch):
    """Trainer, step and model are in no cycle of references, so that memory is free as soon as nothing holds them."""
    parts = []

    class Watched(Trainer):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            parts.extend(map(weakref.ref, (self, self.gradient_step, self.feed, self.model)))

    monkeypatch.setattr(fits, "Trainer", Watched)
    gc.disable()
    try:
        model = VAE(2, **QUICK, **settings).fit(X)
        model.transform(X)
        assert [part() is None for part in parts] == [True, True, True, False]
        del model
        assert all(part() is None for part in parts)
    finally:
        gc.enable()


@LINUX
def test_resident_memory_stays_flat_over_twenty_fits():
    """In a process of its own, as the checks of shapes keep tensors; a leak of models would add 20 times their size."""
    command = [sys.executable, "-m", "tools.torture_memory", "20"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    grown, one = map(float, re.search(r"grew by (-?[\d.]+) MB; .* take ([\d.]+) MB", said).groups())
    assert grown < 10 * one
