"""Values of a saved run that no fit wrote: refused by `load` and by ``latentmap info`` alike, in words of our own."""

import copy
import json
import re
import shutil

import pytest
from tools.mutations import places

from latentmap import load
from latentmap.cli import main
from latentmap.estimators.persistence import describe_run
from latentmap.exceptions import ModelError
from test_compatibility import WRITTEN
from test_persistence import rewrite

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def nested(depth):
    return [nested(depth - 1)] if depth else 1


ODD = ["text", None, [], {}, -1, 1e300, 10**30, True, nested(50)]
INTERNAL = re.compile(
    r"Error: |object is not|has no attribute|not supported between|NoneType|unexpected keyword|positional argument|"
    r"cannot unpack|not iterable|not subscriptable|could not convert|invalid literal|argument must|invalid combination|"
    r"indices must|truth value|inhomogeneous|broadcast|unhashable"
)
"""What errors of Python and its libraries say, and ours do not."""
MIXED = next(run for run in WRITTEN if run.name == "mixed")


def refusal(run, read=load):
    """The message of the refusal of a run; None if it is read."""
    try:
        read(run)
    except ModelError as error:
        return str(error)
    return None


def changed(config, at, value):
    config = copy.deepcopy(config)
    place = config
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return config


@pytest.mark.parametrize("source", WRITTEN, ids=lambda run: run.name)
def test_every_value_of_another_type_has_words_of_its_own(source, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(source, run)
    config, n_refused = json.loads((run / "config.json").read_text()), 0
    for i, at in enumerate(list(places(config))[1:]):
        for value in (ODD[i % len(ODD)], ODD[(i + 4) % len(ODD)]):
            (run / "config.json").write_text(json.dumps(changed(config, at, value)))
            message = refusal(run)
            n_refused += message is not None
            assert message is None or not INTERNAL.search(message), (at, value, message)
            assert message == refusal(run, describe_run), (at, value)
    assert n_refused > 150  # the control


def column(name, **values):
    """Change a column of the table of a configuration."""

    def change(config):
        columns = config["fitted"]["table"]["columns"]
        next(one for one in columns if name in (one["name"], one["kind"])).update(values)

    return change


def doubled_category(config):
    one = next(one for one in config["fitted"]["table"]["columns"] if one["kind"] == "categorical")
    one["categories"] = [one["categories"][0]] * len(one["categories"])


def doubled_name(config):
    columns = config["fitted"]["table"]["columns"]
    columns[1]["name"] = columns[0]["name"]


def fitted(**values):
    return lambda config: config["fitted"].update(values)


SENSELESS = {
    "no deviation": (column("real", deviation=0.0), "cannot have deviation 0"),
    "a negative deviation": (column("real", deviation=-1.0), "cannot have deviation -1"),
    "an infinite deviation": (column("real", deviation=None), "deviation must be a number, got None"),
    "ends the wrong way round": (column("real", lowest=9e9), r"cannot have lowest 9e\+09 above highest"),
    "a category twice": (doubled_category, "twice"),
    "a name twice": (doubled_name, "its table cannot have the column .* twice"),
    "an unknown kind": (column("real", kind="odd"), "kind must be 'real', 'count'"),
    "an unknown type": (column("real", type="Int7"), "cannot have type 'Int7'"),
    "bounds the wrong way round": (column("real", bounds=[2.0, 1.0]), "cannot have bounds from 2 to 1"),
    "a unit": (column("real", unit=0.0), "cannot have unit 0"),
    "decimals": (column("real", decimals=10**6), "cannot have 1000000 decimals"),
    "missing cells": (column("real", missing=-1), "cannot have -1 missing cells"),
    "another": (column("categorical", other="zzz"), "cannot have other 'zzz', which is not its last category"),
    "epochs": (fitted(n_iter_=-1), "its n_iter_ cannot be -1"),
    "seconds": (fitted(fit_seconds_=-1.0), "its fit_seconds_ cannot be -1"),
    "a warning": (
        fitted(findings_=[{"kind": "x", "message": "x", "value": 0.0, "advice": "", "warning": "os"}]),
        "cannot have the warning 'os'",
    ),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_values_without_sense(name, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(MIXED, run)
    load(run)  # the control
    change, message = SENSELESS[name]
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        load(run)
    assert main(["info", str(run)]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and re.search(message, err)


def test_info_refuses_what_load_refuses(tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(MIXED, run)
    assert main(["info", str(run)]) == 0
    damages = [
        lambda: (run / "model.safetensors").write_bytes(b"x"),
        lambda: (run / "neighbors.safetensors").write_bytes(b"x"),
        lambda: rewrite(run, fitted__latent=3),
        lambda: rewrite(run, params__n_components="many"),
        lambda: rewrite(run, **{"class": "Oracle"}),
    ]
    for damage in damages:
        shutil.rmtree(run)
        shutil.copytree(MIXED, run)
        damage()
        capsys.readouterr()
        expected = refusal(run)
        assert expected is not None and main(["info", str(run)]) == 1
        assert capsys.readouterr().err == f"error: {expected}\n"


ORIGIN = {"data": "x.csv", "labels": None, "columns": None, "skip_bad": False, "id": None}


@pytest.mark.parametrize("value", ODD[:-1], ids=str)
@pytest.mark.parametrize("key", [None, *ORIGIN])
def test_origins_of_another_type(key, value, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(MIXED, run)
    (run / "data.json").write_text(json.dumps(value if key is None else ORIGIN | {key: value}))
    code = main(["info", str(run)])
    err = capsys.readouterr().err
    assert code == 0 or (len(err.splitlines()) == 1 and not INTERNAL.search(err))
    assert code == 1 or (key is not None and type(value) in (str, bool, type(None), list))
    (run / "checkpoint").mkdir()
    (run / "checkpoint" / "fit.json").write_text(json.dumps(value if key is None else {"data": value}))
    assert main(["resume", str(run)]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and not INTERNAL.search(err)
