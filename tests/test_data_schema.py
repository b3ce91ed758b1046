"""A schema is what numpy says of the whole array; a hash depends on the values alone."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latentmap.data.checks import EXACT
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.schema import Schema, blocks, content_hash, measure
from latentmap.exceptions import DataError

DTYPES = st.sampled_from(["bool", "uint8", "int8", "int32", "uint64", "float16", "float32", "float64", ">f4", ">i8"])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=2, max_dims=4, max_side=6))


def digest(array):
    return content_hash(ArraySource(array), measure(array))


@given(ARRAYS)
def test_a_schema_is_what_numpy_says_of_the_whole_array(array):
    if array.dtype.kind in "iu" and (np.any(array > EXACT) or np.any(array < -EXACT)):
        with pytest.raises(DataError, match=r"at index .* is beyond 2\^53"):
            measure(array)
        return
    schema = measure(array)
    finite = array[np.isfinite(array)].astype(float)
    assert (schema.n_rows, *schema.event_shape) == array.shape
    assert schema.missing == np.isnan(array).sum()
    assert schema.infinite == np.isinf(array).sum()
    assert (schema.lowest, schema.highest) == ((finite.min(), finite.max()) if finite.size else (None, None))
    assert schema.integral == (finite.size > 0 and bool((finite == np.rint(finite)).all()))
    assert schema.binary == (finite.size > 0 and set(finite.tolist()) <= {0.0, 1.0})
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_a_pass_sees_every_row_once_whatever_the_size_of_a_block(size):
    array = np.arange(60).reshape(20, 3)
    seen = list(blocks(array, values=size))
    np.testing.assert_array_equal(np.concatenate([block for _, block in seen]), array)
    assert [start for start, _ in seen] == np.cumsum([0, *[len(block) for _, block in seen[:-1]]]).tolist()


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([[0.0, 1.0], [1.0, 0.0]]), "binary"),
        (np.array([[[0, 1], [1, 0]]]), "binary"),
        (np.zeros((2, 3, 3)) - 0.5, "image"),
        (np.array([[0.0, 7.0]]), "count"),
        (np.array([[-1, 7]]), "real"),
        (np.array([[0.0, 0.5]]), "unit"),
        (np.array([[0.0, 1.5]]), "real"),
        (np.array([[np.nan, np.nan]]), "real"),
    ],
)
def test_the_kind_is_the_narrowest_that_holds_every_value(array, kind):
    assert measure(array).kind == kind


def test_one_odd_value_in_the_last_block_is_seen():
    array = np.ones((2**18, 8), dtype=np.float32)
    array[-1, -1] = 2.5
    schema = measure(array)
    assert (schema.highest, schema.integral, schema.binary) == (2.5, False, False)


@given(ARRAYS.filter(lambda array: array.dtype.itemsize < 8))
def test_equal_values_have_equal_hashes_in_every_type_that_holds_them(array):
    assert digest(array) == digest(array.astype(np.float64))
    assert digest(array) == digest(np.asfortranarray(array))
    assert digest(array) == digest(array.astype(array.dtype.newbyteorder()))


@given(ARRAYS, st.data())
def test_another_value_or_shape_has_another_hash(array, data):
    array = np.nan_to_num(array.astype(np.float64).clip(-1e9, 1e9), posinf=1.0, neginf=-1.0)
    index = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    other = array.copy()
    other[index] = array[index] + max(1.0, abs(array[index]))
    assert digest(other) != digest(array)
    assert digest(array[None]) != digest(array)


def test_zero_has_no_sign_and_nan_no_payload():
    assert digest(np.array([[0.0, 0.5]])) == digest(np.array([[-0.0, 0.5]]))
    payload = np.array([[0x7FF8000000000001, 0]], dtype=np.uint64).view(np.float64)
    assert digest(np.array([[np.nan, 0.0]])) == digest(payload)


def test_a_fingerprint_holds_the_schema_too():
    values = np.arange(6.0).reshape(3, 2)
    named = [ArraySource(values, names=names) for names in (None, ("a", "b"), ("a", "c"))]
    assert len({source.fingerprint for source in named}) == 3
    assert len({content_hash(source, source.schema) for source in named}) == 1
    assert ArraySource(values.copy()).fingerprint == named[0].fingerprint


def test_a_memory_mapped_file_is_measured_and_hashed_in_constant_memory(tmp_path):
    shape = (2**19, 64)
    file = np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.float32, shape=shape)
    file[-1, -1] = np.pi  # the rest of the file stays a hole of zeros
    source = ArraySource(file)
    tracemalloc.start()
    try:
        assert source.schema.highest == np.float32(np.pi)
        assert len(source.fingerprint) == 64
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < file.nbytes / 4, f"{peak / 2**20:.0f} MiB for a file of {file.nbytes / 2**20:.0f} MiB"
