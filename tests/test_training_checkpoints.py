"""The folder of checkpoints: what is kept, passed over, refused and left alone, and a process that is killed."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from latentmap import VAE, Autoencoder
from latentmap.exceptions import DataError, ModelError, ResumeWarning
from latentmap.training.checkpoint import Checkpoint, Checkpoints
from test_estimators_resuming import QUICK, ROWS, Ending, Killed, outcome
from test_training_state import same

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path):
    whole = VAE(2, **QUICK, random_state=0).fit(ROWS)
    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    before, last = sorted(tmp_path.iterdir())
    assert (before.name[:9], last.name[:9]) == ("000000003", "000000004")
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    with pytest.warns(ResumeWarning, match="000000004.* is damaged .* continues from the checkpoint before"):
        resumed = VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)
    assert same(outcome(resumed), outcome(whole))
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ModelError, match="is damaged .* there is no other checkpoint; fit anew"):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)


def test_an_empty_folder_begins_a_fit_and_a_new_fit_replaces_checkpoints(tmp_path):
    whole = VAE(2, **QUICK, random_state=0).fit(ROWS)
    assert same(
        outcome(VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path / "c", resume=True)), outcome(whole)
    )
    with pytest.raises(Killed):
        Autoencoder(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path / "c", 1, kill=True))
    facts = Checkpoints(tmp_path / "c").read().facts
    assert facts["class"] == "Autoencoder" and len(list((tmp_path / "c").iterdir())) == 1


def test_a_disk_that_is_full_does_not_end_a_fit(tmp_path, monkeypatch):
    def full(path, content):
        raise DataError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("latentmap.training.checkpoint.write_bytes", full)
    with pytest.warns(ResumeWarning, match="no checkpoint was written: cannot write .* No space left"):
        vae = VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path / "c")
    assert same(outcome(vae), outcome(VAE(2, **QUICK, random_state=0).fit(ROWS)))


def test_writing_takes_a_small_share_of_the_time(tmp_path):
    now = [0.0]
    checkpoints = Checkpoints(tmp_path, timer=lambda: now[0])
    written = []

    class Trainer:
        steps_per_epoch, batches, step, within_step = 100, 0, 0, False

        def unsaved(self):
            return []

        def state_dict(self):
            now[0] += 0.1
            written.append((self.step, now[0]))
            return {"a": torch.zeros(1)}

    trainer = Trainer()
    checkpoints.begin()
    for step in range(1, 60_001):
        now[0] += 0.01
        trainer.step, trainer.batches = step, (step - 1) % 100 + 1
        checkpoints.after_step(trainer)
    steps = [step for step, _ in written]
    assert steps[0] == 100 and all(step % 100 == 0 for step in steps)
    gaps = np.diff([seconds for _, seconds in written])
    assert gaps.min() >= 0.1 / 0.005 and gaps.max() < 0.1 / 0.005 + 2
    trainer.steps_per_epoch = 10**9
    for step in range(60_001, 90_001):
        now[0] += 0.01
        trainer.step = trainer.batches = step
        checkpoints.after_step(trainer)
    late = np.diff([seconds for step, seconds in written if step > 60_000])
    assert late.min() >= 60 and late.max() < 61


BAD = {
    "nothing": b"",
    "a header that is too long": (10**12).to_bytes(8, "little") + b"{}",
    "no checkpoint": b"\x02\0\0\0\0\0\0\0{}",
    "deep JSON": (200_000).to_bytes(8, "little") + b"[" * 200_000,
}


@pytest.mark.parametrize("name", BAD)
def test_other_bytes_are_no_checkpoint(name):
    with pytest.raises(ValueError, match=r"no checkpoint|no header"):
        Checkpoint.from_bytes(BAD[name])


@pytest.mark.parametrize("facts", [{}, {"seed": "a"}, {"seed": 0, "components": 2, "settings": {"dtype": "bool"}}])
def test_facts_that_no_fit_writes_are_refused(facts, tmp_path):
    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    saves = Checkpoints(tmp_path)
    saved = saves.read()
    saves.clear()
    content = Checkpoint(facts, saved.state).to_bytes()
    from latentmap.training.checkpoint import _hash

    tmp_path.mkdir(exist_ok=True)
    (tmp_path / f"000000004-{_hash(content)}.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="does not say which fit it is of"):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)


SCRIPT = """
import sys, os, signal, numpy as np
from latentmap import VAE, networks
from latentmap.training.checkpoint import Checkpoints
class Ending(Checkpoints):
    def after_step(self, trainer):
        super().after_step(trainer)
        if trainer.step == 23:
            os.kill(os.getpid(), signal.SIGKILL)
rows = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
tiny = networks.MLP((8,))
vae = VAE(2, encoder=tiny, decoder=tiny, max_epochs=4, batch_size=16, random_state=0)
saves = {"kill": Ending(sys.argv[2], 0.0), "resume": Checkpoints(sys.argv[2]), "whole": None}[sys.argv[1]]
vae.fit(rows, checkpoint=saves, resume=sys.argv[1] == "resume")
vae.save(sys.argv[3])
"""


def test_a_process_that_is_killed_is_resumed_by_another(tmp_path):
    def run(what):
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, what, str(tmp_path / "c"), str(tmp_path / what)]
        return subprocess.run(command, capture_output=True, timeout=120).returncode

    assert run("whole") == 0 and run("kill") == -9 and not (tmp_path / "kill").exists() and run("resume") == 0
    whole, resumed = (json.loads((tmp_path / what / "config.json").read_text()) for what in ("whole", "resume"))
    assert whole["weights_sha256"] == resumed["weights_sha256"]


def test_files_of_others_stay_in_the_folder(tmp_path):
    for name in (".12345678-notes", ".thesis.new-12345678", "mine.txt"):
        (tmp_path / name).mkdir()
    VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Checkpoints(tmp_path, every=0.0))
    assert len(list(tmp_path.iterdir())) == 3 + 2


def test_two_fits_do_not_share_a_folder(tmp_path):
    def other(row, progress):
        VAE(2, **QUICK, random_state=1).fit(ROWS, checkpoint=tmp_path)

    with pytest.raises(DataError, match="is being written by another"):
        VAE(2, **QUICK | {"batch_size": 2}, random_state=0, callbacks=[other]).fit(ROWS, checkpoint=tmp_path)


def test_a_fit_that_a_callback_stopped_has_ended(tmp_path):
    def stop(row, progress):
        progress.stop()

    settings = QUICK | {"batch_size": 2, "max_epochs": 5, "callbacks": [stop], "random_state": 0}
    first, again = (VAE(2, **settings).fit(ROWS, checkpoint=tmp_path, resume=True) for _ in range(2))
    assert first.n_iter_ == again.n_iter_ < 5 and same(outcome(first), outcome(again))


def test_checkpoints_stop_one_fit(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.stop()
    assert VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=checkpoints).interrupted_
    resumed = VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=checkpoints, resume=True)
    assert same(outcome(resumed), outcome(VAE(2, **QUICK, random_state=0).fit(ROWS)))


COUNTERS = {"epoch": None, "batches": 1.5, "restores": None, "rate_scale": 1e300, "step": 10**400, "best_evaluation": 9}


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_that_no_fit_has_are_refused(name, tmp_path):
    from latentmap.training.checkpoint import _hash

    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    saved = Checkpoints(tmp_path).read()
    saved.state["counters"][name] = COUNTERS[name]
    Checkpoints(tmp_path).clear()
    content = saved.to_bytes()
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / f"000000004-{_hash(content)}.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=f"counters.{name} is"):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)
