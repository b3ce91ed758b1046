"""Rows as pictures: their size in a mosaic."""

import numpy as np
import pytest

from latentmap.plot.rows import RowStyle


@pytest.mark.parametrize("shape", [(400, 300), (5, 250, 3), (200, 200, 3), (40, 40, 4), (28, 28, 1)])
def test_images_of_any_size_make_one_moderate_mosaic(shape):
    rows = np.random.default_rng(0).random((6, *shape), dtype="float32")

    class Model:
        event_shape_ = shape

    style = RowStyle.of(Model(), rows)
    mosaic, (height, width) = style.mosaic(rows.reshape(2, 3, *style.shape))
    assert max(height, width) < 220
    assert mosaic.shape[:2] == (2 * height - (height - _tile(mosaic, 0)), 3 * width - (width - _tile(mosaic, 1)))
    assert np.nanmin(mosaic) >= 0
    assert np.nanmax(mosaic) <= 1


def _tile(mosaic, axis):
    """Pixels before the first gap."""
    line = mosaic[0] if axis else mosaic[:, 0]
    line = line if line.ndim == 1 else line[:, 0]
    return int(np.isnan(line).argmax())
