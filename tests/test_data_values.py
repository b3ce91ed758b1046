"""What is read is what was given: containers of the same values give the same model, or are refused in one line."""

import datetime
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from latentmap import VAE, Autoencoder, Columns, load, networks, priors
from latentmap.data.sources import open_source, require_finite
from latentmap.data.values import plain_array
from latentmap.exceptions import DataError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

TINY = networks.MLP((8,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 1, "neighbors": None, "random_state": 0}
rng = np.random.default_rng(0)
X = rng.normal(size=(24, 3)) * [1, 9, 3]
HOLES = np.where(rng.random(X.shape) < 0.2, np.nan, X)
WHOLE = rng.integers(0, 9, X.shape)
WHOLE_HOLES = np.where(np.isnan(HOLES), np.nan, WHOLE)
ABSENT = np.isnan(HOLES)
TRUTH = X > 0
OBJECTS = np.where(ABSENT, None, HOLES.astype(object))
NAMES = list("abc")


def masked(values, junk):
    return np.ma.array(np.where(ABSENT, junk, values), mask=ABSENT)


def frame_of(columns):
    return pd.DataFrame(dict(zip(NAMES, columns, strict=True)))


def of_type(values, dtype):
    """A frame of pandas with one of its own types."""
    return frame_of([pd.array([None if v != v else v for v in column], dtype=dtype) for column in values.T])


TWINS = {
    "masked": (masked(X, -9999.0), HOLES),
    "masked, single precision": (masked(X.astype(np.float32), -9999), HOLES.astype(np.float32)),
    "masked whole numbers": (masked(WHOLE, -9999), WHOLE_HOLES),
    "masked whole numbers beyond 2^53": (masked(WHOLE, 2**62), WHOLE_HOLES),
    "masked bytes": (masked(WHOLE, 255).astype(np.uint8), WHOLE_HOLES),
    "masked nothing": (np.ma.array(X), X),
    "masked objects": (np.ma.array(np.where(ABSENT, "?", X.astype(object)), mask=ABSENT), HOLES),
    "list of masked rows": (list(masked(X, -9999.0)), HOLES),
    "list with the mask itself": ([[np.ma.masked if v != v else v for v in row] for row in HOLES.tolist()], HOLES),
    "masked, big-endian": (masked(X, -9999.0).astype(">f8"), HOLES),
    "objects with None": (OBJECTS, HOLES),
    "objects with NA": (np.where(ABSENT, pd.NA, OBJECTS), HOLES),
    "objects with NaT": (np.where(ABSENT, pd.NaT, OBJECTS), HOLES),
    "lists with None": (OBJECTS.tolist(), HOLES),
    "tuples": (tuple(map(tuple, X)), X),
    "decimals": (np.vectorize(Decimal)(X), X),
    "fractions": (np.vectorize(Fraction)(X), X),
    "truth with None": (np.where(ABSENT, None, TRUTH.astype(object)), np.where(ABSENT, np.nan, TRUTH)),
    "numpy's numbers": (np.array([[np.float32(v) for v in row] for row in X] + [[None] * 3], object)[:-1],
                        X.astype(np.float32).astype(float)),
    "big-endian": (X.astype(">f8"), X),
    "long double": (X.astype(np.longdouble), X),
    "half precision": (X.astype(np.float16), X.astype(np.float16).astype(float)),
    "not contiguous": (np.repeat(X, 2, 0)[::2, ::-1][:, ::-1], X),
    "matrix": (np.asmatrix(X), X),
    "tensor": (torch.from_numpy(HOLES), HOLES),
    "tensor with a gradient": (torch.from_numpy(X).requires_grad_(), X),
    "parameter": (torch.nn.Parameter(torch.from_numpy(X)), X),
    "tensor of bfloat16": (torch.from_numpy(X).bfloat16(), torch.from_numpy(X).bfloat16().float().numpy()),
    "tensor of truth": (torch.from_numpy(TRUTH), TRUTH.astype(float)),
    "tensor of whole numbers": (torch.from_numpy(WHOLE), WHOLE.astype(float)),
    "transposed tensor": (torch.from_numpy(X.T.copy()).T, X),
    "list of tensors": (list(torch.from_numpy(X).requires_grad_()), X),
    "sparse": (sparse.csr_array(HOLES), HOLES.astype(np.float64)),
    "sparse by columns, with zeros": (sparse.csc_matrix(np.where(X > 9, 0, X)), np.where(X > 9, 0, X)),
    "numbers for names": (pd.DataFrame(HOLES), HOLES),
    "other numbers for names": (pd.DataFrame(HOLES, columns=[7, 3, 5]), HOLES),
    "two levels of names": (pd.DataFrame(HOLES, columns=pd.MultiIndex.from_product([["a"], NAMES])), HOLES),
    "text for names": (pd.DataFrame(HOLES, columns=NAMES), HOLES),
    "frame of objects with None": (pd.DataFrame(OBJECTS, columns=NAMES), HOLES),
    "frame of objects with NA": (frame_of(np.where(ABSENT, pd.NA, OBJECTS).T), HOLES),
    "frame of decimals": (frame_of(np.vectorize(Decimal)(X).T), X),
    "frame of truth with None": (frame_of(np.where(ABSENT, None, TRUTH.astype(object)).T),
                                 np.where(ABSENT, np.nan, TRUTH)),
    "frame of truth": (frame_of(TRUTH.T), TRUTH.astype(float)),
    "Float64": (of_type(HOLES, "Float64"), HOLES),
    "Int64": (of_type(WHOLE_HOLES, "Int64"), WHOLE_HOLES),
    "UInt8": (of_type(WHOLE_HOLES, "UInt8"), WHOLE_HOLES),
    "boolean": (of_type(np.where(ABSENT, np.nan, TRUTH).astype(object), "boolean"), np.where(ABSENT, np.nan, TRUTH)),
    "double[pyarrow]": (of_type(HOLES, "double[pyarrow]"), HOLES),
    "int64[pyarrow]": (of_type(WHOLE_HOLES, "int64[pyarrow]"), WHOLE_HOLES),
    "sparse columns": (frame_of([pd.arrays.SparseArray(column) for column in HOLES.T]), HOLES),
    "big-endian columns": (frame_of(HOLES.T.astype(">f8")), HOLES),
    "long double columns": (frame_of(X.T.astype(np.longdouble)), X),
    "polars": (pl.DataFrame(OBJECTS.tolist(), schema=NAMES, orient="row", strict=False), HOLES),
    "polars, lazy": (pl.DataFrame(X, schema=NAMES).lazy(), X),
    "polars, whole numbers with null": (
        pl.DataFrame({n: [None if v != v else int(v) for v in c] for n, c in zip(NAMES, WHOLE_HOLES.T, strict=True)}),
        WHOLE_HOLES,
    ),
    "polars, 128 bits": (pl.DataFrame(WHOLE, schema=dict.fromkeys(NAMES, pl.Int128)), WHOLE.astype(float)),
    "polars, decimals": (pl.DataFrame(WHOLE, schema=NAMES).cast(pl.Decimal(9, 2)), WHOLE.astype(float)),
    "pyarrow": (pa.table({n: pa.array(c, mask=m) for n, c, m in zip(NAMES, X.T, ABSENT.T, strict=True)}), HOLES),
}  # fmt: skip


def outputs(X, stored=True):
    """What a model that is fitted to rows makes of them."""
    model = VAE(2, **QUICK).fit(X)
    filled = model.impute(X) if model.takes_missing_ and stored else model.reconstruct(X)
    one = X.iloc[:1] if hasattr(X, "iloc") else X[:1]
    given = [model.transform(X), model.score_samples(X), filled, model.reconstruct(X), model.transform(one)]
    return [*map(np.asarray, given), model.fit_prior(X, priors.Mixture(2), random_state=0).sample(2, random_state=1)]


@pytest.mark.parametrize("name", TWINS)
def test_containers_of_the_same_values_give_the_same_results(name):
    given, twin = TWINS[name]
    source = open_source(given)
    np.testing.assert_array_equal(np.asarray(source.read(slice(None)), float), twin)
    source = open_source(given)
    read, event = source.all_rows(), source.first.shape[1:]
    assert event == (3,) and read.dtype == (np.float32 if twin.dtype == np.float32 or "bfloat" in name else np.float64)
    np.testing.assert_array_equal(read, twin)


@pytest.mark.parametrize(
    "name",
    ["masked", "masked whole numbers", "lists with None", "numbers for names", "frame of objects with None", "Int64",
     "frame of truth with None", "tensor with a gradient", "sparse", "polars", "pyarrow", "list of masked rows"],
)  # fmt: skip
def test_models_of_containers_of_the_same_values_are_the_same(name):
    given, twin = TWINS[name]
    stored = not sparse.issparse(given)  # others are imputed some rows at a time
    for mine, clean in zip(outputs(given, stored), outputs(twin, stored), strict=True):
        np.testing.assert_array_equal(mine.astype(float), clean.astype(float))
    assert VAE(2, **QUICK).partial_fit(given).score(given) == VAE(2, **QUICK).partial_fit(twin).score(twin)


def test_masked_pictures_have_missing_cells():
    pictures = np.random.default_rng(0).integers(0, 255, (12, 4, 4), np.uint8)
    holes = np.random.default_rng(1).random(pictures.shape) < 0.2
    given = np.ma.array(np.where(holes, 255, pictures).astype(np.uint8), mask=holes)
    twin = np.where(holes, np.nan, pictures)
    for mine, clean in zip(outputs(given), outputs(twin), strict=True):
        np.testing.assert_array_equal(mine, clean)
    model = VAE(2, **QUICK).fit(twin)
    np.testing.assert_array_equal(model.interpolate(given[0], given[1]), model.interpolate(twin[0], twin[1]))
    assert VAE(2, **QUICK).fit(np.ma.array(pictures)).data_schema_.dtype == "uint8"  # nothing is hidden


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float64, (3, 2), elements=st.floats(-1e9, 1e9, width=32)),
    arrays(bool, (3, 2)),
    st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.int16]),
)
def test_a_mask_is_missing_cells_and_nothing_else(values, mask, dtype):
    values = np.clip(values, 0, 99).astype(dtype)
    found = plain_array(np.ma.array(values, mask=mask))
    np.testing.assert_array_equal(np.isnan(found) if found.dtype.kind == "f" else mask, mask)
    np.testing.assert_array_equal(found[~mask], values[~mask])
    assert mask.any() or found.dtype == dtype


BIG = 2**53 + 1
REFUSED = {
    "int64": (np.array([[0, 1], [2, BIG]]), f"X: {BIG} at index [1, 1] is beyond 2^53"),
    "uint64": (np.array([[0, 1], [2, BIG]], np.uint64), f"X: {BIG} at index [1, 1] is beyond 2^53"),
    "int64 in a tensor": (torch.tensor([[0, 1], [2, BIG]]), f"X: {BIG} at index [1, 1] is beyond 2^53"),
    "int64 in lists": ([[0, 1], [2, BIG]], f"X: {BIG} at index [1, 1] is beyond 2^53"),
    "among fractions in lists": ([[0.5, 1], [2, BIG]], f"X: {BIG} at index [1, 1] is beyond 2^53"),
    "beyond 64 bits": ([[0, 1], [2, 2**70]], f"X: {2**70} at index [1, 1] is beyond 2^53"),
    "objects": (np.array([[0, None], [2, BIG]], object), f"X: {BIG} at index [1, 1] is beyond 2^53"),
    "masked int64": (np.ma.array([[0, 1], [2, BIG]], mask=[[1, 0], [0, 0]]), f"X: {BIG} at index [1, 1] is beyond"),
    "sparse int64": (sparse.csr_array(np.array([[0, 1], [2, BIG]])), f"X: {BIG} at index [1, 1] is beyond 2^53"),
    "images": (np.full((3, 2, 2), BIG), f"X: {BIG} at index [0, 0, 0] is beyond 2^53"),
    "pandas": (pd.DataFrame({"b": [1, BIG]}), "'b': an id: whole numbers beyond 2^53"),
    "Int64 below a hole": (pd.DataFrame({"b": pd.array([None, BIG], "Int64")}), "'b': an id: whole numbers beyond"),
    "polars, 128 bits": (pl.DataFrame({"b": [1, 2**100]}, schema={"b": pl.Int128}), "'b': an id: whole numbers beyond"),
    "decimals": (pd.DataFrame({"b": [Decimal(1), Decimal(BIG)]}), "'b': an id: whole numbers beyond 2^53"),
    "dates": (np.array([["2020-01-01", "NaT"]] * 2, "M8[D]"), "X has dtype datetime64[D]: expected numbers; a data"),
    "spans of time": (np.array([[1, "NaT"]] * 2, "m8[s]"), "X has dtype timedelta64[s]: expected numbers"),
    "periods": (pd.DataFrame({"d": pd.period_range("2020", periods=2, freq="M")}), "'d': it holds period[M], not"),
    "intervals": (pd.DataFrame({"d": pd.interval_range(0, 2)}), "'d': it holds interval[int64, right], not"),
    "complex columns": (pd.DataFrame({"d": [1j, 2]}), "'d': it holds complex128, not numbers"),
    "complex objects": (np.array([[1j, None]] * 2, object), "X holds a complex at index [0, 0], not a number: Complex"),
    "complex tensor": (torch.zeros(2, 2, dtype=torch.cfloat), "Complex data not supported"),
    "dates among objects": (np.array([[datetime.date(2020, 1, 1), 1]] * 2), "X holds a date at index [0, 0], not"),
    "text": (np.array([["1", "2"]] * 2), "X has dtype str32: expected numbers"),
    "text among objects": (np.array([[1, "b"]] * 2, object), "X holds a str at index [0, 1], not a number: 'b'"),
    "fields": (np.zeros(3, [("a", float), ("b", int)]), "X has fields (a, b): give it as pandas.DataFrame(X)"),
    "record array": (np.rec.fromarrays([[1, 2]], names="a"), "X has fields (a): give it as pandas.DataFrame(X)"),
    "sparse tensor": (torch.eye(3).to_sparse(), "X is a tensor of layout torch.sparse_coo: give X.to_dense()"),
    "meta tensor": (torch.zeros(2, 2, device="meta"), "X is a tensor that numpy cannot read"),
    "a dictionary": ({"a": [1, 2]}, "X is a dict: expected an array, a tensor, a data frame, a path"),
    "a generator": ((row for row in X), "X is a generator: expected an array"),
    "a set": ({1, 2}, "X is a set: expected an array"),
    "nothing": (None, "X is a NoneType: expected an array"),
    "two columns of a name": (pd.DataFrame(X, columns=list("aab")), "X: column names must be unique"),
    "names of two types": (pd.DataFrame(X, columns=["a", 1, 2]), "whose names are of types int and str: expected"),
    "names of two types, mixed": (pd.DataFrame({"a": ["u", "v"], 1: [1, 2]}), "whose names are of types int and str"),
    "long double beyond double": (np.array([[1, 2], [3, np.longdouble("1e400")]]), "contains 1 infinite value"),
    "places outside a sparse matrix": (
        sparse.csr_array((np.ones(2), np.array([0, 9]), np.array([0, 1, 2])), shape=(2, 3)),
        "X is no valid sparse matrix",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_as_given_is_refused_alike_everywhere(name):
    given, message = REFUSED[name]
    calls = [lambda: VAE(2, **QUICK).fit(given), lambda: VAE(2, **QUICK).partial_fit(given)]
    if not ("no value" in message or "infinite" in message):
        calls.append(lambda: require_finite(open_source(given), missing=True))
    for call in calls:
        with pytest.raises(DataError) as caught, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            call()
        assert message in str(caught.value), str(caught.value)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "name", ["int64", "int64 in a tensor", "dates", "a dictionary", "text among objects", "fields"]
)
@pytest.mark.parametrize(
    "method", ["transform", "reconstruct", "score_samples", "impute", "posterior", "inverse_transform"]
)
def test_a_fitted_model_refuses_it_too(method, name):
    given, message = REFUSED[name]
    model = VAE(2, **QUICK).fit(HOLES[:, :2])
    with pytest.raises(DataError) as caught:
        getattr(model, method)(given)
    assert message.replace("X", "Z" if method == "inverse_transform" else "X") in str(caught.value)
    if method == "transform" and name != "a dictionary":
        with pytest.raises(DataError):
            model.fit_prior(given, priors.Mixture(2))


@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_frames_whose_names_are_numbers_work_everywhere(cls, tmp_path):
    quick = {key: value for key, value in QUICK.items() if cls is VAE or key != "neighbors"}
    frame = pd.DataFrame(HOLES, index=range(100, 124))
    model = cls(2, **quick).set_output(transform="pandas").fit(frame)
    assert not hasattr(model, "feature_names_in_") and model.n_features_in_ == 3  # as in scikit-learn
    codes = model.transform(frame)
    assert list(codes.columns) == list(model.get_feature_names_out()) and list(codes.index) == list(frame.index)
    filled = model.impute(frame)
    assert (
        list(filled.columns) == [0, 1, 2]
        and list(filled.index) == list(frame.index)
        and not filled.isna().to_numpy().any()
    )
    np.testing.assert_array_equal(filled.to_numpy()[~ABSENT], HOLES[~ABSENT])
    model.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).transform(frame), codes)
    np.testing.assert_array_equal(load(tmp_path).transform(pd.DataFrame(HOLES, columns=[4, 5, 6])), codes)
    np.testing.assert_array_equal(
        model.interpolate(frame.iloc[:1], frame.iloc[1:2]), model.interpolate(HOLES[0], HOLES[1])
    )
    with pytest.raises(ValueError, match="X has 2 features, but .* is expecting 3"):
        model.transform(frame[[0, 1]])


def mixed():
    """A frame of objects, of every sort, with a hole in each column."""
    day = datetime.date(2020, 1, 1)
    return pd.DataFrame(
        {
            "size": [None, *rng.normal(size=30)],
            "member": [None, *[True, False] * 15],
            "price": [None, *(Decimal(i) / 4 for i in range(30))],
            "day": [None, *(day + datetime.timedelta(i) for i in range(30))],
            "time": [pd.NaT, *(pd.Timestamp("2020") + pd.Timedelta(hours=i) for i in range(30))],
            "kind": [pd.NA, *["u", "v", "w"] * 10],
            "cut": pd.cut([np.nan, *range(30)], 3),
            "grade": pd.Categorical([None, *[1, 2, 3] * 10], ordered=True),
        }
    ).astype({"size": object})


def test_columns_of_objects_are_what_they_hold():
    frame = mixed()
    table = open_source(frame).table
    assert {column.name: column.kind for column in table.columns} == {
        "size": "real", "member": "binary", "price": "real", "day": "date", "time": "date", "kind": "categorical",
        "cut": "ordinal",
    }  # fmt: skip
    assert table.dropped == {"grade": "it follows from 'kind'"}
    clean = pd.DataFrame(
        {
            "size": frame["size"].astype(float),
            "member": frame["member"].astype("boolean"),
            "price": frame["price"].astype(float),
            "day": pd.to_datetime(frame["day"]),
            "time": pd.to_datetime(frame["time"]),
            "kind": frame["kind"].astype("string"),
            "cut": frame["cut"].astype(str).where(frame["cut"].notna()).astype(pd.CategoricalDtype(
                [str(c) for c in frame["cut"].cat.categories], ordered=True)),
            "grade": frame["grade"],
        }
    )  # fmt: skip
    np.testing.assert_array_equal(open_source(frame).read(slice(None)), open_source(clean).read(slice(None)))
    mine, other = VAE(2, **QUICK).fit(frame), VAE(2, **QUICK).fit(clean)
    np.testing.assert_array_equal(mine.transform(frame), other.transform(clean))
    np.testing.assert_array_equal(mine.transform(clean), other.transform(frame))
    filled = mine.impute(frame)
    assert not filled.isna().to_numpy().any() and isinstance(filled["day"][0], datetime.date)
    assert filled["day"][1:].tolist() == frame["day"][1:].tolist()
    assert filled["member"].isin([True, False]).all() and filled["kind"].isin(["u", "v", "w"]).all()


def test_a_mixed_frame_whose_names_are_numbers(tmp_path):
    frame = pd.DataFrame({0: rng.normal(size=20), 1: ["u", "v"] * 10, 2: [None, *range(19)]})
    model = VAE(2, **QUICK).fit(frame)
    assert list(model.impute(frame).columns) == [0, 1, 2]
    model.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).transform(frame), model.transform(frame))
    np.testing.assert_array_equal(model.transform(frame[[2, 0, 1]]), model.transform(frame))
    nothing = frame.assign(**{"2": None}).drop(columns=2).rename(columns={0: "0", 1: "1"})
    assert np.isfinite(model.transform(nothing[:1])).all()  # a column of nothing but None


def test_what_is_said_of_columns_holds_for_numbers():
    model = VAE(2, columns=Columns({"0": "real"}), **QUICK).fit(pd.DataFrame({0: X[:, 0], 1: X[:, 1]}))
    assert np.isfinite(model.sample(3).to_numpy()).all()


@pytest.mark.parametrize("condition", ["labels", "covariates"])
def test_masked_conditions_are_missing(condition):
    y = np.ma.array([-9999, *[0, 1] * 11, 1], mask=[True, *[False] * 23])
    if condition == "covariates":
        for bad, message in (
            (y, "got NaN"),
            (np.array(["2020-01-01"] * 24, "M8[D]"), "expected covariates to be numbers"),
        ):
            with pytest.raises(DataError, match=message):
                VAE(2, condition=condition, **QUICK).fit(X, bad)
    else:
        model = VAE(2, condition=condition, **QUICK).fit(X, y)
        assert model.classes_.tolist() == [0, 1] and model.condition_.some
