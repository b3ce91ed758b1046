"""Folders of images: every mode, size and layout becomes rows of bytes, and what is damaged is named."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from command import ask, must
from latentmap.data.schema import content_hash
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

RNG = np.random.default_rng(0)
GREY, COLOUR = RNG.integers(0, 256, (6, 5), np.uint8), RNG.integers(0, 256, (6, 5, 3), np.uint8)


def save(path, values, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def test_grey_images_are_the_array_that_they_were_made_of(tmp_path):
    digits = (load_digits().images[:30] * 15).astype(np.uint8)
    for i, image in enumerate(digits):
        save(tmp_path / f"{i:03}.png", image)
    source = open_source(tmp_path)
    assert np.array_equal(source.read(slice(None)), digits) and source.read(slice(0, 1)).dtype == np.uint8
    assert source.labels is None and source.remark is None
    memory = open_source(digits)
    assert content_hash(source, source.schema) == content_hash(memory, memory.schema)


def test_subfolders_are_labels_and_hidden_files_are_left_out(tmp_path):
    for name in ("cat/1.png", "cat/2.PNG", "dog/1.png", "dog/old/1.bmp", ".cache/1.png", "cat/_thumb.png"):
        save(tmp_path / name, GREY, format="PNG" if "PNG" in name else None)
    (tmp_path / "dog" / "notes.txt").write_text("a dog")
    source = open_source(tmp_path)
    assert source.labels.tolist() == ["cat", "cat", "dog", "dog/old"] and source.label_name == "folder"
    save(tmp_path / "stray.png", GREY)
    assert open_source(tmp_path).labels is None  # not every image has a folder of its own
    assert open_source(tmp_path, [0, 1, 0, 1, 0]).labels.tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm", "gif", "webp"])
def test_colours_are_kept(tmp_path, ending):
    save(tmp_path / f"a.{ending}", COLOUR, **({"lossless": True} if ending == "webp" else {}))
    rows = open_source(tmp_path).read(slice(None))
    assert rows.shape == (1, 6, 5, 3)
    assert ending == "gif" or np.array_equal(rows[0], COLOUR)


def test_one_image_in_colour_makes_all_rgb(tmp_path):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", COLOUR)
    rows = open_source(tmp_path).read(slice(None))
    assert np.array_equal(rows[0], np.repeat(GREY[..., None], 3, 2)) and np.array_equal(rows[1], COLOUR)


def test_transparent_pixels_lie_on_white(tmp_path):
    alpha = np.dstack([COLOUR, np.full((6, 5), 255, np.uint8)])
    alpha[0, 0, 3] = 0
    save(tmp_path / "a.png", alpha)
    rows = open_source(tmp_path).read(slice(None))
    assert rows[0, 0, 0].tolist() == [255, 255, 255] and np.array_equal(rows[0, 1:], COLOUR[1:])


def test_bits_and_deep_greys_become_bytes(tmp_path):
    save(tmp_path / "1.png", (GREY > 128).astype(np.uint8) * 255, "1")
    save(tmp_path / "2.png", GREY.astype(np.uint16) * 257)
    rows = open_source(tmp_path).read(slice(None))
    assert np.array_equal(rows[0], (GREY > 128) * 255) and np.abs(rows[1].astype(int) - GREY).max() <= 1


def test_images_of_many_sizes_get_the_median_one_and_it_is_said(tmp_path, capsys):
    for i, size in enumerate([(20, 30), (20, 30), (40, 30), (10, 31), (20, 29)]):
        save(tmp_path / f"{i}.png", RNG.integers(0, 256, size, np.uint8))
    source = open_source(tmp_path)
    assert source.schema.event_shape == (20, 30) and source.remark == "3 of 5 images resized to 20 x 30"
    assert "3 of 5 images resized" in must(capsys, "info", tmp_path).err
    for path in tmp_path.glob("*.png"):
        save(path, RNG.integers(0, 256, (100, 640), np.uint8))
    assert open_source(tmp_path).schema.event_shape == (20, 128)


def test_photographs_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    save(tmp_path / "a.png", GREY, exif=exif)
    source = open_source(tmp_path)
    assert np.array_equal(source.read(slice(None))[0], np.rot90(GREY, -1)) and source.remark is None


@pytest.mark.parametrize("fault", ["truncated", "text", "empty"])
def test_damaged_images_are_named(tmp_path, fault, capsys):
    good = save(tmp_path / "a.png", RNG.integers(0, 256, (64, 64), np.uint8))
    bad = tmp_path / "b.png"
    bad.write_bytes({"truncated": good.read_bytes()[:2000], "text": b"no image", "empty": b""}[fault])
    with pytest.raises(DataError, match="cannot be read as an image") as caught:
        open_source(tmp_path)
    assert str(bad) in str(caught.value) and "\n" not in str(caught.value)
    answer = ask(capsys, "fit", tmp_path, "-o", tmp_path / "run")
    assert answer.code == 1 and len(answer.errors) == 1 and not (tmp_path / "run").exists()
    bad.unlink()
    assert len(open_source(tmp_path)) == 1  # the control


def test_the_command_fits_a_folder_and_samples_images(tmp_path, capsys):
    digits, y = load_digits(return_X_y=True)
    for i, (image, label) in enumerate(zip(digits[:60], y[:60], strict=True)):
        save(tmp_path / "digits" / str(label) / f"{i}.png", (image.reshape(8, 8) * 15).astype(np.uint8))
    answer = must(capsys, "fit", tmp_path / "digits", "-o", tmp_path / "run", "--set", "max_epochs=3")
    assert "8 x 8" in answer.err and "folder (10 classes)" in answer.err
    must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.npy")
    must(capsys, "sample", tmp_path / "run", "-o", tmp_path / "s.npy")
    assert np.load(tmp_path / "z.npy").shape == (60, 2) and np.load(tmp_path / "s.npy").shape == (64, 8, 8)


def test_images_that_cannot_be_read_are_left_out_where_asked_and_listed(tmp_path, capsys):
    for i in range(30):
        save(tmp_path / "in" / f"{i:02}.png", RNG.integers(0, 256, (9, 8), np.uint8))
    for name in ("03.png", "17.png"):
        (tmp_path / "in" / name).write_bytes((tmp_path / "in" / name).read_bytes()[:40])
    source = open_source(tmp_path / "in", skip_bad=True)
    assert len(source) == 28 and source.remark == "2 of 30 images cannot be read: 03.png, 17.png"
    assert "2 of 30 images cannot be read: 03.png, 17.png" in must(capsys, "info", tmp_path / "in", "--skip-bad").err
    fit = ("fit", tmp_path / "in", "-o", tmp_path / "run", "--set", "max_epochs=1")
    assert ask(capsys, *fit).code == 1
    assert "2 of 30 images cannot be read: 03.png, 17.png" in must(capsys, *fit, "--skip-bad").err
    must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.npy")  # the run remembers
    assert np.load(tmp_path / "z.npy").shape == (28, 2)
    for path in (tmp_path / "in").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 30 images .* can be read, 00.png for instance"):
        open_source(tmp_path / "in", skip_bad=True)


def test_images_of_grey_levels_are_measured_in_bits_a_dimension(tmp_path, capsys):
    rows = RNG.integers(0, 256, (60, 4, 4), np.uint8)
    np.save(tmp_path / "x.npy", rows)
    fit = ("fit", tmp_path / "x.npy", "-o", tmp_path / "run", "--no-report", "--set", "likelihood=DiscretizedLogistic")
    said = must(capsys, *fit).err
    bits = float(said.partition(" bits/dim")[0].split()[-1])
    assert 7.9 < bits < 9.5  # even noise holds 8 bits, and a model can lose by overfitting
    assert "bits/dim" not in must(capsys, *fit[:-2], "--overwrite").err  # a density has none
