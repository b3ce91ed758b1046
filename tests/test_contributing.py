"""The examples of CONTRIBUTING.md run and pass the laws of the project; what documents name is there."""

import inspect
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import test_model_laws
import test_model_parts
import test_recipes
from command import must
from latentmap import VAE, posteriors, recipes
from latentmap.cli.app import app
from latentmap.data import sources
from latentmap.data.schema import content_hash
from latentmap.exceptions import DataError
from parts import INFINITE, POSTERIORS, REALS, LikelihoodCase, fits

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


@pytest.fixture(scope="module")
def example():
    """All blocks of CONTRIBUTING.md, one after the other, as a module; what they register is taken back."""
    page = ROOT / "CONTRIBUTING.md"
    pieces = re.split(r"```.*\n", page.read_text(encoding="utf-8"))  # prose and code in turn
    code = "\n".join(piece if i % 2 else "\n" * piece.count("\n") for i, piece in enumerate(pieces))
    module = ModuleType("contributing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "contributing", module)
        patch.setattr(sources, "FORMATS", dict(sources.FORMATS))
        exec(compile(code, page, "exec", dont_inherit=True), vars(module))
        patch.setattr(recipes, "sparse", module.sparse, raising=False)
        yield module
        del app["count"]


def laws(*arguments):
    """Every law of parts that is parametrised by these arguments, once for each value of its others."""
    found = []
    for law in (vars(test_model_laws) | vars(test_model_parts)).values():
        marks = [mark.args for mark in getattr(law, "pytestmark", []) if mark.name == "parametrize"]
        values = {names if isinstance(names, tuple) else (names,): values for names, values in marks}
        if values.pop(arguments, None):
            for others in itertools.product(*values.values()):
                given = {names[0]: value for names, value in zip(values, others, strict=True)}
                found.append(pytest.param(law, given, id=" ".join([law.__name__, *map(str, others)])))
    return found


@pytest.mark.parametrize(("law", "others"), laws("case"))
def test_the_likelihood_passes_the_laws(example, law, others):
    law(case=LikelihoodCase(example.RobustLaplace(), REALS, INFINITE), **others)


@pytest.mark.parametrize(("law", "others"), laws("likelihood"))
def test_its_queries_leave_its_state(example, law, others):
    law(likelihood=example.RobustLaplace(), **others)


@pytest.mark.parametrize("posterior", [q for q in POSTERIORS if q.has_density], ids=repr)
@pytest.mark.parametrize(("law", "others"), laws("posterior", "prior"))
def test_the_prior_passes_the_laws(example, law, others, posterior):
    if fits(posterior, example.SparsePrior()):
        law(posterior=posterior, prior=example.SparsePrior(), **others)
    else:
        assert posterior.manifold != "flat"


@pytest.mark.parametrize(("law", "others"), laws("part"))
def test_parts_are_values(example, law, others):
    for part in (example.RobustLaplace(), example.RobustLaplace(0.5), example.SparsePrior(2.0)):
        law(part=part, **others)


def test_there_are_laws():
    """The control: a change of the tests must not leave the examples without any."""
    assert len(laws("case")) > 5 and laws("posterior", "prior") and laws("part") and laws("likelihood")
    assert any(isinstance(q, posteriors.Gaussian) for q in POSTERIORS)


def test_the_recipe_is_found_and_passes_the_laws(example, capsys, tmp_path):
    assert recipes.every()["sparse"] is recipes.find("sparse") is example.sparse
    assert must(capsys, "recipes", "--json").json["sparse"]["settings"] == {"scale": 1.0}
    parts = {"encoder": test_recipes.SMALL, "decoder": test_recipes.SMALL} | recipes.find("sparse")(scale=0.5)
    fitted = "sparse", VAE(4, **parts, **test_recipes.SETTINGS).fit(test_recipes.DIGITS)
    assert fitted[1].prior_ == example.SparsePrior(0.5)
    functions = [law for law in vars(test_recipes).values() if inspect.isfunction(law)]
    takes = {law: list(inspect.signature(law).parameters) for law in functions}
    found = {law: names for law, names in takes.items() if names[:1] == ["fitted"]}
    assert len(found) > 5
    for law, names in found.items():
        law(*[fitted, tmp_path][: len(names)])


def test_the_format_is_opened_and_damage_is_one_line(example, tmp_path):
    points, path = np.random.default_rng(0).normal(size=(7, 3)), tmp_path / "points.xyz"
    np.savetxt(path, points, fmt="%.17g")
    source, memory = sources.open_source(path), sources.open_source(points)
    np.testing.assert_array_equal(source.read(slice(None)), points)
    assert source.schema.names == ("x", "y", "z")
    assert content_hash(source, source.schema) == content_hash(memory, memory.schema)
    path.write_text("1 2 3\n4 five 6\n")
    with pytest.raises(DataError, match=r"points\.xyz: not a readable \.xyz file") as error:
        sources.open_source(path)
    assert "\n" not in str(error.value)


def test_the_command_has_its_options_and_its_help(example, capsys):
    assert must(capsys, "count", "digits").out.split() == ["1797"]
    assert must(capsys, "count", "digits", "--features").out.split() == ["1797", "64"]
    assert "Print how many features" in must(capsys, "count", "--help").out


@pytest.mark.parametrize("page", ["README", "CONTRIBUTING", "ARCHITECTURE", "CHANGELOG"])
def test_what_documents_name_is_there(page):
    text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = re.findall(r"`((?:src|tests|docs|tools)/[\w/.-]+)`", text)
    for path in (*links, *paths):
        assert (ROOT / path).exists(), f"{page}.md names {path}"
