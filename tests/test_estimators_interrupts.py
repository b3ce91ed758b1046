"""An interrupt keeps the model, whenever it comes and in whatever thread; a second one leaves at once."""

import ctypes
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pkgutil import resolve_name

import pytest

from latentmap import VAE
from latentmap.exceptions import InterruptedWarning
from latentmap.training.checkpoint import Checkpoints
from latentmap.training.step import GradientStep
from test_estimators_resuming import QUICK, ROWS, outcome
from test_training_state import same

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
LONG = QUICK | {"max_epochs": 10**6, "random_state": 0}


PLACES = {
    "standardisation": "latentmap.training.loop.Trainer.held_out_losses",
    "summary": "latentmap.estimators.fit.summarise",
    "last checkpoint": "latentmap.training.checkpoint.Checkpoints.write",
}


def last_calls_interrupted(monkeypatch, target, before, times):
    """Interrupt so many calls of a function, after so many that are not, when their work is done."""
    function, calls = resolve_name(target), []

    def call(*given):
        result = function(*given)
        calls.append(1)
        if before < len(calls) <= before + times:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(target, call)
    return calls


@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_after_the_last_step_keeps_the_model(place, tmp_path, monkeypatch):
    settings = QUICK | {"early_stopping": True, "neighbors": None, "random_state": 0}
    with monkeypatch.context() as patch:
        calls = last_calls_interrupted(patch, PLACES[place], 0, 0)
        whole = VAE(2, **settings).fit(ROWS, checkpoint=tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.warns(InterruptedWarning):
        last_calls_interrupted(patch, PLACES[place], len(calls) - 1, 1)
        kept = VAE(2, **settings).fit(ROWS, checkpoint=tmp_path / "kept")
    assert same(outcome(kept)[:4], outcome(whole)[:4])
    if place != "last checkpoint":  # which is written once
        last_calls_interrupted(monkeypatch, PLACES[place], len(calls) - 1, 2)
        with pytest.warns(InterruptedWarning), pytest.raises(KeyboardInterrupt):
            VAE(2, **settings).fit(ROWS, checkpoint=tmp_path / "left")


def test_interrupts_in_threads_keep_the_models():
    """As a callback raises them, and as a notebook sends them to a thread that runs."""
    inside, threads = threading.Event(), []

    def begun(row, progress):
        threads.append(threading.get_ident())
        inside.set()

    def raised(row, progress):
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(VAE(2, **LONG, callbacks=[called]).fit, ROWS) for called in (begun, raised)]
        assert inside.wait(60)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threads[0]), ctypes.py_object(KeyboardInterrupt))
        for fit in fits:
            model = fit.result(timeout=60)
            assert model.interrupted_ and model.transform(ROWS).shape == (len(ROWS), 2)


def test_a_fit_in_a_thread_is_stopped_from_another(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        fit = pool.submit(VAE(2, **LONG).fit, ROWS, checkpoint=checkpoints)
        end = time.monotonic() + 60
        while not checkpoints.running and time.monotonic() < end:
            time.sleep(0.01)
        checkpoints.stop()
        assert fit.result(timeout=60).interrupted_ and checkpoints


def interrupted_within_steps(monkeypatch, steps):
    """Press Ctrl-C within these steps, when the weights have moved and the counters have not."""
    taken, step = [], GradientStep.__call__

    def call(self, *given):
        step(self, *given)
        taken.append(1)
        if len(taken) in steps:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(GradientStep, "__call__", call)
    return taken


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_fit_resumes_bit_for_bit_after_ctrl_c_within_a_step(at, monkeypatch):
    assert threading.current_thread() is threading.main_thread()
    expected = outcome(VAE(**QUICK, random_state=0).fit(ROWS))
    with monkeypatch.context() as patch:
        interrupted_within_steps(patch, {at})
        with pytest.warns(InterruptedWarning, match=f"after {at} steps"):
            vae = VAE(**QUICK, random_state=0).fit(ROWS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert same(outcome(vae.fit(ROWS, resume=True)), expected)


def test_a_second_ctrl_c_leaves_the_step(monkeypatch):
    """As in a step that takes long, or does not end."""
    step = GradientStep.__call__

    def call(self, *given):
        step(self, *given)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one raises")

    monkeypatch.setattr(GradientStep, "__call__", call)
    with pytest.warns(InterruptedWarning):
        VAE(**QUICK, random_state=0).fit(ROWS)


def test_a_handler_of_the_users_own_stays(monkeypatch):
    called = []
    before = signal.signal(signal.SIGINT, lambda number, frame: called.append(number))
    try:
        interrupted_within_steps(monkeypatch, {3})
        vae = VAE(**QUICK, random_state=0).fit(ROWS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert called == [signal.SIGINT] and vae.history_
