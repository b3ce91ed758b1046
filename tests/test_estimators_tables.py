"""Models of tables of mixed columns: what they learn, and that frames go in and come out."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone

from latentmap import VAE, Autoencoder, Columns, likelihoods, load, networks, plot
from latentmap.cli import main
from latentmap.data.schema import Schema
from latentmap.exceptions import DataError, PartError
from latentmap.model.distributions import soft_bound
from latentmap.model.likelihoods import Incomplete
from latentmap.model.part import Sizes
from latentmap.model.scaling import Affine

TINY = networks.MLP((32,))
SMALL = {"encoder": TINY, "decoder": TINY, "neighbors": None, "random_state": 0}
LONG = SMALL | {"max_epochs": 40}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def table(n=600, seed=0):
    """Two hidden variables, a class and a number, behind columns of every kind."""
    rng = np.random.default_rng(seed)
    t, z = rng.integers(0, 3, n), rng.normal(size=n)
    sizes = np.array(["S", "M", "L"])[np.clip(np.rint(z + 1 + 0.3 * rng.normal(size=n)), 0, 2).astype(int)]
    return pd.DataFrame({
        "weight": 10 * z + rng.normal(size=n),
        "income": np.exp(9 + 1.5 * z + 0.2 * rng.normal(size=n)),
        "city": np.array(["Rome", "Oslo", "Lima"])[t],
        "size": pd.Categorical(sizes, categories=["S", "M", "L"], ordered=True),
        "member": z > 0,
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(100 * t + rng.integers(0, 10, n), unit="D"),
        "visits": rng.poisson(np.exp(1 + z)).astype(np.int16),
    })  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.fixture(scope="module")
def vae(rows):
    return VAE(2, **LONG).fit(rows)


def test_every_column_is_learned_and_none_swamps_the_others(vae, rows):
    back = vae.reconstruct(rows)
    pd.testing.assert_series_equal(back.dtypes, rows.dtypes)
    assert (back["city"] == rows["city"]).mean() > 0.95  # by chance a third
    assert (back["member"] == rows["member"]).mean() > 0.85
    assert (back["size"].astype(str) == rows["size"].astype(str)).mean() > 0.7
    assert np.abs(back["since"] - rows["since"]).median() < pd.Timedelta(days=12)
    assert np.corrcoef(np.log(back["income"]), np.log(rows["income"]))[0, 1] > 0.9
    assert np.corrcoef(back["visits"], np.exp(1 + rows["weight"] / 10))[0, 1] > 0.8


def test_a_column_that_is_sure_leaves_the_others_their_share(rows):
    copies = {f"copy {i}": rows["weight"] + 1e-9 for i in range(6)}  # seven columns that are known to the last digit
    back = VAE(2, **SMALL, max_epochs=20).fit(rows.assign(**copies)).reconstruct(rows.assign(**copies))
    assert (back["city"] == rows["city"]).mean() > 0.95


def test_frames_come_back_from_codes(vae, rows):
    for drawn in (vae.sample(50, random_state=0), vae.sample(50, random_state=0, noise=True)):
        pd.testing.assert_series_equal(drawn.dtypes, rows.dtypes)
        assert set(drawn["city"]) == {"Rome", "Oslo", "Lima"}
    codes = vae.transform(rows)
    assert codes.shape == (600, 2)
    pd.testing.assert_frame_equal(vae.inverse_transform(codes), vae.reconstruct(rows).reset_index(drop=True))
    assert vae.interpolate(rows.iloc[:1], rows.iloc[1:2], 5).shape == (5, 7)
    assert vae.get_feature_names_out().tolist() == ["vae0", "vae1"]


def test_polars_goes_in_and_comes_out(vae, rows):
    frame = pl.from_pandas(rows.assign(size=rows["size"].astype(str)))
    fitted = VAE(2, **SMALL, max_epochs=2).fit(frame)
    assert fitted.sample(3, random_state=0).schema == frame.schema
    assert isinstance(vae.reconstruct(frame), pl.DataFrame)  # a model of pandas gives what it is given
    np.testing.assert_allclose(vae.transform(frame), vae.transform(rows))


def test_numbers_go_in_and_come_out(vae, rows):
    numbers = vae.encode_table(rows)
    np.testing.assert_array_equal(vae.transform(numbers), vae.transform(rows))
    assert isinstance(vae.reconstruct(numbers), np.ndarray)


def test_columns_may_come_in_another_order(vae, rows):
    np.testing.assert_array_equal(vae.transform(rows[rows.columns[::-1]]), vae.transform(rows))


def test_saving_keeps_the_table(vae, rows, tmp_path):
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.reconstruct(rows), vae.reconstruct(rows))
    np.testing.assert_array_equal(again.score_samples(rows), vae.score_samples(rows))


def test_scores_are_in_the_units_of_the_data(rows):
    """Another unit of a density moves a score by its logarithm; the unit of a mass there is not."""
    pounds = rows.assign(weight=rows["weight"] * 2.0)
    same = {**SMALL, "max_epochs": 5}
    one, other = VAE(2, **same).fit(rows), VAE(2, **same).fit(pounds)
    np.testing.assert_allclose(other.score_samples(pounds), one.score_samples(rows) - np.log(2), atol=1e-3)


@pytest.mark.parametrize("unit", [None, [0.25, 1.0]])
def test_a_logarithmic_column_has_a_density_of_the_data(unit):
    """Numerically: the change of units of log(1 + x / u) is the derivative of what is done to x."""
    units = Affine([2.0, 0.5], [3.0, 1.5], [True, False], unit=unit).double()
    x = torch.tensor([[7.0, -1.0]], dtype=torch.float64, requires_grad=True)
    y = units(x)
    slopes = [torch.autograd.grad(y[0, i], x, retain_graph=True)[0][0, i].log() for i in range(2)]
    torch.testing.assert_close(units.log_jacobian(y)[0], torch.stack(slopes).sum())
    torch.testing.assert_close(units.inverse(y), x)
    wrong = Affine([2.0, 0.5], [3.0, 1.5]).double()
    assert abs(wrong.log_jacobian(y)[0] - torch.stack(slopes).sum()) > 1


def test_missing_cells_are_left_out_and_filled(rows):
    holes = rows.copy()
    rng = np.random.default_rng(1)
    gone = rng.random(len(rows)) < 0.3
    holes.loc[gone, "city"] = None
    holes.loc[rng.random(len(rows)) < 0.3, "weight"] = np.nan
    vae = VAE(2, **LONG).fit(holes)
    assert isinstance(vae.model_.parts.likelihood, Incomplete)
    filled = vae.impute(holes)
    assert not filled.isna().any().any()
    assert (filled["city"] == rows["city"])[gone].mean() > 0.9  # by chance a third; the date tells
    kept = holes["weight"].notna()
    np.testing.assert_array_equal(filled["weight"][kept], rows["weight"][kept])
    draws = vae.impute(holes, 3)
    assert len(draws) == 3 and all((draw["city"] == rows["city"])[~gone].all() for draw in draws)
    neither = rows.assign(city=None)
    assert vae.score_samples(neither).mean() > vae.score_samples(rows).mean() - 1  # a mass less to pay for


def test_unseen_categories(vae, rows):
    strange = rows.assign(city="Bonn")
    with pytest.raises(DataError, match="'Bonn' is not among the categories of the fit"):
        vae.transform(strange)
    tolerant = VAE(2, **SMALL, columns=Columns(unseen="missing"), max_epochs=2).fit(rows)
    assert set(tolerant.impute(strange)["city"]) <= {"Rome", "Oslo", "Lima"}


def test_columns_say_what_is_known(rows, tmp_path):
    columns = Columns({
        "weight": {"likelihood": likelihoods.StudentT("feature")},
        "visits": "real",
        "income": {"scaling": "standard"},
        "member": "drop",
    })  # fmt: skip
    vae = clone(VAE(2, **SMALL, columns=columns, max_epochs=2)).fit(rows)
    parts = vae.model_.parts.likelihood.likelihood.columns
    assert parts[0] == likelihoods.StudentT("feature") and parts[-1] == likelihoods.Gaussian("feature")
    assert "member" not in vae.sample(2).columns and vae.sample(2)["visits"].dtype == np.int16
    assert "column 'member' left out: as requested" in vae.choices_["likelihood"]
    vae.transform(rows.drop(columns="member"))
    vae.save(tmp_path / "run")
    assert load(tmp_path / "run").columns == columns


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likelihood": likelihoods.Gaussian()}, "a table of mixed columns has a likelihood for each column"),
        ({"scaling": "standard"}, "a table of mixed columns has a scaling for each column"),
        (
            {"columns": Columns({"weight": {"likelihood": likelihoods.Poisson()}})},
            "column 'weight': likelihood Poisson",
        ),
        ({"columns": {"weight": "real"}}, "columns must be None or latentmap.Columns"),
    ],
)
def test_impossible_settings(rows, settings, message):
    with pytest.raises(PartError, match=message):
        VAE(2, **SMALL, **settings).fit(rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"age": {"kinds": "count"}},), "column 'age' has no setting 'kinds'"),
        (({"age": {"likelihood": "Poisson"}},), "likelihood of column 'age' must be one of latentmap.likelihoods"),
        ((["age"],), "columns must be kinds or settings by name"),
        (({}, "ignore"), "unseen must be 'error' or 'missing'"),
    ],
)
def test_columns_refuse_what_makes_no_sense(arguments, message):
    with pytest.raises(PartError, match=message):
        Columns(*arguments)


def test_columns_need_named_columns():
    with pytest.raises(DataError, match="columns= says something of named columns, and X has none"):
        VAE(2, **SMALL, columns=Columns({"a": "count"})).fit(np.zeros((30, 2)))


def test_an_autoencoder_and_every_figure_take_tables(rows):
    autoencoder = Autoencoder(2, encoder=TINY, decoder=TINY, random_state=0, max_epochs=5).fit(rows)
    assert autoencoder.reconstruct(rows).shape == rows.shape
    for draw in (plot.map, plot.reconstructions, plot.interpolations, plot.map_quality, plot.decoded_grid):
        assert draw(autoencoder, rows).figure_ is not None
    plot.samples(autoencoder, X=rows)


def test_runs_of_before_the_likelihood_was_renamed_load_as_they_were(vae, rows, tmp_path):
    vae.save(tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    text = config.read_text()
    config.write_text(text.replace("likelihoods.Heterogeneous", "likelihoods.Columns"))
    assert "likelihoods.Columns" in config.read_text() and "likelihoods.Columns" not in text
    again = load(tmp_path / "run")
    assert again.model_.parts == vae.model_.parts
    np.testing.assert_array_equal(again.transform(rows), vae.transform(rows))


class TestLikelihood:
    """The likelihood by itself: masses and densities that are those of its columns."""

    part = likelihoods.Heterogeneous((
        likelihoods.Gaussian("feature"), likelihoods.Categorical(levels=3), likelihoods.Gaussian("feature"),
        likelihoods.NegativeBinomial(), likelihoods.Bernoulli(),
    ))  # fmt: skip

    def test_each_column_is_scored_by_its_own(self):
        own, raw = self.part.build(Sizes((5,), 2)), torch.randn(4, 7, 1)
        p = self.part.distribution(own, raw)
        x = torch.tensor([[0.3, 0.5, -1.0, 4.0, 1.0]]).repeat(4, 1)
        found = p.log_prob(x)
        scale = soft_bound(own.groups[0].log_scale[0], 6.0).exp()
        for column, place in ((0, 0), (2, 1)):
            expected = torch.distributions.Normal(raw[:, place, 0], scale).log_prob(x[:, column])
            torch.testing.assert_close(found[:, column], expected)
        torch.testing.assert_close(found[:, 1], raw[:, 2:5, 0].log_softmax(-1)[:, 1])
        torch.testing.assert_close(found[:, 4], torch.nn.functional.logsigmoid(raw[:, 6, 0]))

    def test_a_category_that_is_missing_is_none(self):
        own = self.part.build(Sizes((5,), 2))
        blank = self.part.blank(torch.full((5,), 0.5))
        assert blank.tolist() == [0.5, -1.0, 0.5, 0.5, 0.5]
        assert self.part.encoder_inputs(own, blank[None])[0, 1:4].tolist() == [0, 0, 0]

    def test_a_column_is_stood_for_by_its_mean_or_its_likeliest_category(self):
        torch.manual_seed(0)
        own, raw = self.part.build(Sizes((5,), 2)), 2 * torch.randn(3, 4, 7, 1)
        p, weight = self.part.distribution(own, raw), torch.rand(3, 4)
        masses, (counts, bits) = raw[..., 2:5, 0].softmax(-1), (p.groups[2][1], p.groups[3][1])
        scale = soft_bound(own.groups[0].log_scale, 6.0).exp().square()
        means = [raw[..., 0, 0], masses.argmax(-1) / 2, raw[..., 1, 0], counts.mean[..., 0], bits.mean[..., 0]]
        doubts = [scale[0].expand(3, 4), 1 - masses.amax(-1), scale[1].expand(3, 4)]
        doubts += [counts.variance[..., 0], bits.variance[..., 0]]
        torch.testing.assert_close(p.mean, torch.stack(means, -1))
        torch.testing.assert_close(p.variance, torch.stack(doubts, -1))
        expected = (weight[..., None] * p.mean).sum(0)
        likeliest = (weight[..., None] * masses).sum(0).argmax(-1) / 2
        assert (likeliest != expected[:, 1]).any()  # a category has no mean
        expected[:, 1] = likeliest
        torch.testing.assert_close(p.average(weight), expected)

    def test_the_encoder_sees_numbers_standardised_and_categories_spread(self):
        own = self.part.build(Sizes((5,), 2))
        x = torch.tensor([[2.0, 0.0, 5.0, 0.0, 1.0], [4.0, 0.5, 5.0, 8.0, 0.0], [9.0, 1.0, 5.0, 3.0, 0.0]])
        self.part.start(own, x)
        seen = self.part.encoder_inputs(own, x)
        numbers = torch.stack([x[:, 0], x[:, 3].asinh(), x[:, 4]], 1).numpy()
        expected = (numbers - numbers.mean(0)) / numbers.std(0)
        np.testing.assert_allclose(seen[:, [0, 5, 6]], expected, rtol=1e-5)
        assert seen[:, 1:4].tolist() == np.eye(3).tolist() and seen[:, 4].tolist() == [0, 0, 0]  # which never varies

    def test_draws_follow_the_masses(self):
        torch.manual_seed(0)
        p = self.part.distribution(self.part.build(Sizes((5,), 2)), torch.zeros(1, 7, 1))
        drawn = p.sample((4000,))[:, 0, 1]
        shares = [(drawn == level / 2).float().mean().item() for level in range(3)]
        np.testing.assert_allclose(shares, 1 / 3, atol=0.03)

    def test_rows_of_another_width_and_what_has_no_density_are_refused(self):
        with pytest.raises(PartError, match="likelihood Heterogeneous is one of 5 columns, got rows"):
            self.part.build(Sizes((4,), 2))
        with pytest.raises(PartError, match="cannot be the likelihood of one column"):
            likelihoods.Heterogeneous((likelihoods.MSSSIM(),))
        with pytest.raises(PartError, match="columns must be one likelihood for each column"):
            likelihoods.Heterogeneous((likelihoods.Gaussian(), "Gaussian"))
        self.part.check_data(Schema(2, (5,), "float64", None, 0.0, 1.0, False), 0.0, 1.0)


def test_the_command_takes_tables(rows, tmp_path, capsys):
    rows.head(150).to_csv(tmp_path / "x.csv", index=False)
    spec = tmp_path / "spec.toml"
    spec.write_text('unseen = "missing"\n[columns.size]\nkind = "ordinal"\ncategories = ["S", "M", "L"]\n'
                    '[columns.weight]\nlikelihood = "StudentT"\n[columns.member]\nkind = "drop"\n')  # fmt: skip
    run = str(tmp_path / "run")
    assert main(["info", str(tmp_path / "x.csv"), "--columns", str(spec)]) == 0
    assert "ordinal, 3: S, M, L" in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "x.csv"), "-o", run, "--columns", str(spec), "--set", "max_epochs=3"]) == 0
    for command in (["sample", run, "-n", "5"], ["impute", run], ["inverse", run, str(tmp_path / "z.npy")]):
        if command[0] == "inverse":
            assert main(["transform", run, "-o", str(tmp_path / "z.npy")]) == 0
        for end in (".csv", ".parquet"):
            assert main([*command, "-o", str(tmp_path / f"out{end}")]) == 0
        text, binary = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "out.parquet")
        came = [c for c in rows.columns if c != "member" or command[0] == "impute"]
        assert text.columns.tolist() == binary.columns.tolist() == came
        assert set(text["city"]) <= {"Rome", "Oslo", "Lima"} and (text["city"] == binary["city"]).all()
    for wrong, message in (("[columns.sise]\nkind = 'ordinal'\n", "has no column 'sise': did you mean 'size'"),
                           ("[columns.size\n", "cannot be read as TOML"),
                           ("[columns.size]\nlikelihood = 'Student'\n", "no likelihood is called 'Student'"),
                           ("kind = 1\n", "has no use for 'kind'")):  # fmt: skip
        spec.write_text(wrong)
        capsys.readouterr()
        assert main(["fit", str(tmp_path / "x.csv"), "-o", str(tmp_path / "no"), "--columns", str(spec)]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
