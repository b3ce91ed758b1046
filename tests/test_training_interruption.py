"""A fit that is stopped or interrupted anywhere resumes there; a damaged state is refused before anything changes."""

import pytest
import torch

from latentmap.exceptions import ModelError
from test_training_state import outcome, same, through_file, trainer_of


def stopped_after(trainer, steps):
    """Let a trainer stop by itself after so many steps, wherever that is."""
    take = trainer._take_step

    def counted(*given):
        take(*given)
        if trainer.step + 1 == steps:
            trainer.stop()

    trainer._take_step = counted
    return trainer


@pytest.mark.parametrize("patience", [None, 1, 3])
@pytest.mark.parametrize("steps", [3, 5, 10, 20, 40])
def test_a_fit_that_is_stopped_after_any_step_resumes_so(steps, patience):
    """Steps 5 and 10 end epochs after which nothing is evaluated, as 20 steps have to lie between two evaluations."""
    settings = {"patience": patience, "learning_rate": 0.1}
    whole, first, second = (trainer_of(**settings) for _ in range(3))
    whole.run()
    stopped_after(first, steps).run()
    assert first.step == steps
    second.load_state_dict(through_file(first.state_dict()))
    second.run()
    assert same(outcome(second), outcome(whole))
    first.run()  # and the same trainer may go on
    assert same(outcome(first), outcome(whole))


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.InterruptedWarning")
def test_a_fit_that_is_interrupted_while_it_evaluates_resumes_there():
    whole, first, second = (trainer_of() for _ in range(3))
    whole.run()
    measure, calls = first.gradient_step.measure, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(*given)

    first.gradient_step.measure = interrupted
    first.run()
    assert first.interrupted and len(first.history) == 2
    second.load_state_dict(through_file(first.state_dict()))
    second.run()
    assert same(outcome(second), outcome(whole))


DAMAGE = {
    "no state": (lambda s: None, "is missing"),
    "a list": (lambda s: [], "is missing"),
    "integers": (
        lambda s: s["model"].update({k: v.long() for k, v in s["model"].items()}),
        "is of torch.int64 and shape",
    ),
    "an array": (lambda s: s["model"].update({k: v.numpy() for k, v in s["model"].items()}), "is ndarray"),
    "a history of text": (lambda s: s.update(history="abc"), "history is str"),
    "no history": (lambda s: s.update(history=None), "history is"),
    "a generator": (lambda s: s.update(generator=s["generator"][:-1]), "generator"),
    "another generator": (lambda s: s.update(generator=torch.zeros_like(s["generator"])), "generator is damaged"),
    "a criterion": (lambda s: s["best"].update(criterion="low"), "best.criterion is str"),
    "an epoch of text": (lambda s: s["counters"].update(epoch="x"), "counters.epoch is str"),
    "a negative epoch": (lambda s: s["counters"].update(epoch=-3), "counters.epoch is -3"),
    "too many batches": (lambda s: s["counters"].update(batches=999), "counters.batches is 999"),
    "a rate of NaN": (lambda s: s["counters"].update(rate_scale=float("nan")), "counters.rate_scale is not a number"),
    "another likelihood": (lambda s: s["setup"].update(likelihood="Laplace()"), "setup.likelihood is Laplace"),
    "nothing held out": (lambda s: s["setup"].update(held_out=0), "setup.held_out is 0"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_state_is_refused_before_anything_changes(name):
    damage, message = DAMAGE[name]
    source, target = trainer_of(max_epochs=4), trainer_of(max_epochs=4)
    source.run()
    state, before = through_file(source.state_dict()), through_file(target.state_dict())
    damaged = damage(state)
    with pytest.raises(ModelError, match=f"does not fit this trainer: .*{message}"):
        target.load_state_dict(damaged if name in ("no state", "a list") else state)
    assert same(target.state_dict(), before)
