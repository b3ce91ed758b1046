"""Folders of images: every mode, size and layout becomes rows, those of a fit in its shape; damage is named."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from command import ask, must
from latentmap import VAE, load, networks
from latentmap.data.formats.images import ImageFolderSource
from latentmap.data.schema import content_hash
from latentmap.data.sources import open_source
from latentmap.exceptions import ConvertedImagesWarning, DataError

QUIET = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
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


def test_bits_become_bytes(tmp_path):
    save(tmp_path / "1.png", (GREY > 128).astype(np.uint8) * 255, "1")
    rows = open_source(tmp_path).read(slice(None))
    assert rows.dtype == np.uint8 and np.array_equal(rows[0], (GREY > 128) * 255)


DEEP = {
    "12 bits": RNG.integers(0, 4096, (3, 6, 5)).astype(np.uint16),
    "16 bits": RNG.integers(0, 2**16, (3, 6, 5)).astype(np.uint16),
    "32 bits": RNG.integers(-(2**20), 2**20, (3, 6, 5)).astype(np.int32),
    "large": RNG.integers(-(2**31), 2**31 - 1, (3, 6, 5)).astype(np.int32),
    "floats": RNG.normal(size=(3, 6, 5)).astype(np.float32) * [[[1]], [[10]], [[100]]],
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_greys_have_their_values(tmp_path, kind):
    values = DEEP[kind].astype(np.float32) if kind == "floats" else DEEP[kind]
    for i, image in enumerate(values):
        save(tmp_path / f"{i}.tif", image)
    source = open_source(tmp_path)
    rows = source.read(slice(None))
    np.testing.assert_array_equal(rows, values)
    assert rows.dtype == (np.float64 if kind == "large" else np.float32) and source.remark is None


def test_deep_greys_of_every_format_and_byte_order_are_alike(tmp_path):
    values = DEEP["16 bits"][0]
    save(tmp_path / "a.png", values)
    save(tmp_path / "b.tif", values)
    save(tmp_path / "c.pgm", values)
    swapped = Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes())
    swapped.save(tmp_path / "d.tif")
    save(tmp_path / "e.tif", values.astype(np.int32))
    for row in open_source(tmp_path).read(slice(None)):
        np.testing.assert_array_equal(row, values)


def test_a_missing_pixel_stays_one(tmp_path):
    values = DEEP["floats"][:2].astype(np.float32)
    values[0, 2, 3] = np.nan
    for i, image in enumerate(values):
        save(tmp_path / f"{i}.tif", image)
    source = open_source(tmp_path)
    np.testing.assert_array_equal(source.read(slice(None)), values)
    assert source.schema.missing == 1


def test_deep_greys_are_resized_within_their_range(tmp_path):
    ramp = np.repeat(np.linspace(1000, 60000, 40).round().astype(np.uint16)[:, None], 30, 1)
    for i, image in enumerate([ramp, ramp[::2, ::2], ramp]):
        save(tmp_path / f"{i}.tif", image)
    source = open_source(tmp_path)
    rows = source.read(slice(None))
    assert source.remark == "1 of 3 images resized to 40 x 30" and np.array_equal(rows[0], ramp)
    assert np.abs(rows[1] - ramp).max() < 2500 and rows[1].min() >= 1000 and rows[1].max() <= 60000


def test_images_of_several_depths_have_no_common_unit(tmp_path):
    for name, values in {"a.png": GREY, "b.png": GREY.astype(np.uint16), "c.tif": GREY.astype(np.float32)}.items():
        save(tmp_path / name, values)
    for left, message in {
        "c.tif": r"of 8 bits \(a.png\) and of floats \(c.tif\) and of more than 8 bits \(b.png\), whose values differ",
        "b.png": r"of 8 bits \(a.png\) and of more than 8 bits \(b.png\), whose values differ in unit",
    }.items():
        with pytest.raises(DataError, match=message):
            open_source(tmp_path)
        (tmp_path / left).unlink()
    assert np.array_equal(open_source(tmp_path).read(slice(None))[0], GREY)  # the control


def test_what_is_not_read_of_images_is_said_once(tmp_path, capsys):
    frames = [Image.fromarray(RNG.integers(0, 256, (6, 5), np.uint8)) for _ in range(4)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[2:])
    frames[0].save(tmp_path / "c.png")
    source = open_source(tmp_path)
    assert source.remark == "2 of 3 images have 5 frames after the first, which are not read"
    assert all(np.array_equal(row, np.asarray(frames[0])) for row in source.read(slice(None)))
    assert must(capsys, "info", tmp_path).err.count("5 frames after the first") == 1


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_deep_colours_are_said_to_be_narrowed(tmp_path, channels):
    values = np.full((6, 5, channels), 65535, np.uint16)
    values[..., 0] = RNG.integers(0, 2**16, (6, 5))
    (tmp_path / "a.png").write_bytes(deep_png(values))
    source = open_source(tmp_path)
    assert source.remark == "1 of 1 images have 16 bits a colour, of which 8 are read"
    assert np.abs(source.read(slice(None)).reshape(30, -1)[:, 0] - values[..., 0].ravel() / 257.0).max() <= 1


def deep_png(values):
    """Return a PNG of 16 bits a channel, which Pillow does not write."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    parts = {b"IHDR": header, b"IDAT": zlib.compress(lines), b"IEND": b""}
    chunks = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# ---- images for a fit


def textures(folder, n, size=(20, 16), dtype=np.uint8, scale=1, **how):
    """Save images that differ in where they are bright."""
    rows, columns = np.indices(size) / np.array(size)[:, None, None]
    for i in range(n):
        bright = np.exp(-8 * ((rows - i % 5 / 5) ** 2 + (columns - i % 7 / 7) ** 2))
        save(folder / f"{i:02}.{how.get('ending', 'png')}", (bright * 255 * scale).astype(dtype), how.get("mode"))
    return folder


def fitted(X):
    tiny = networks.MLP((16,))
    return VAE(2, encoder=tiny, decoder=tiny, neighbors=None, max_epochs=20, random_state=0).fit(X)


@QUIET
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_fits_take_images_saved_in_other_modes(tmp_path, mode):
    vae = fitted(textures(tmp_path / "a", 30))
    codes = vae.transform(tmp_path / "a")
    other = textures(tmp_path / "b", 30, mode=mode)
    save(other / "00.png", np.asarray(Image.open(tmp_path / "a" / "00.png")))
    if mode in ("LA", "P"):  # grey by themselves
        np.testing.assert_array_equal(vae.transform(other), codes)
        return
    with pytest.warns(ConvertedImagesWarning, match="29 of 30 images made grey"):
        np.testing.assert_array_equal(vae.transform(other), codes)


@QUIET
def test_fits_take_images_in_their_size_and_colours(tmp_path):
    grey = fitted(textures(tmp_path / "grey", 30))
    large = textures(tmp_path / "large", 30, (40, 32))
    with pytest.warns(ConvertedImagesWarning, match="30 of 30 images resized to 20 x 16"):
        codes = grey.transform(large)
    assert np.abs(codes - grey.transform(tmp_path / "grey")).max() < 0.3 < np.ptp(codes)
    save(textures(tmp_path / "mixed", 30) / "00.png", RNG.integers(0, 256, (20, 16, 3), np.uint8))
    colour = fitted(tmp_path / "mixed")
    assert colour.event_shape_ == (20, 16, 3)
    with pytest.warns(ConvertedImagesWarning, match="30 of 30 images made RGB"):
        codes = colour.transform(tmp_path / "grey")
    np.testing.assert_array_equal(codes[1:], colour.transform(tmp_path / "mixed")[1:])
    assert grey.transform(tmp_path / "grey" / "03.png").shape == (1, 2)  # one image


@QUIET
def test_fits_refuse_images_of_another_depth(tmp_path):
    flat, deep = fitted(textures(tmp_path / "a", 30)), textures(tmp_path / "b", 30, dtype=np.uint16, scale=257)
    of_deep = fitted(deep)
    assert of_deep.reconstruct(deep).max() > 20000  # values as they are
    np.testing.assert_allclose(of_deep.transform(deep), flat.transform(tmp_path / "a"), atol=0.05)
    with pytest.raises(DataError, match="images of more than 8 bits, and the fit had bytes: give such images"):
        flat.transform(deep)
    with pytest.raises(DataError, match="images of 8 bits, and the fit had values from 0 to 65"):
        of_deep.transform(tmp_path / "a")
    shares = textures(tmp_path / "c", 30, dtype=np.float32, scale=1 / 255, ending="tif")
    with pytest.raises(DataError, match="images of 8 bits, and the fit had values from .* to 1: give such images"):
        fitted(shares).transform(tmp_path / "a")
    array = np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / "a").iterdir())])
    of_array = fitted(array.astype(np.float64))  # of the same unit
    np.testing.assert_array_equal(of_array.transform(tmp_path / "a"), of_array.transform(array))


@QUIET
def test_the_command_reads_images_in_the_shape_of_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("latentmap.estimators.anchor.FEWEST", 1)  # few textures are alike, and which is chance
    run, codes = tmp_path / "run", tmp_path / "codes.npy"
    must(capsys, "fit", textures(tmp_path / "a", 30), "-o", run, "--set", "max_epochs=20", "--no-report")
    other = textures(tmp_path / "b", 30, (40, 32), mode="RGB")
    for command in ("transform", "score", "impute"):
        said = must(capsys, command, run, other, "-o", tmp_path / f"{command}.npy").err
        assert said.count(f"note: {other}: 30 of 30 images resized to 20 x 16; 30 of 30 images made grey") == 1
        assert "resized" not in must(capsys, command, run, "-o", tmp_path / "own.npy").err
    assert np.load(tmp_path / "impute.npy").shape == (30, 20, 16)
    must(capsys, "fit", other, "--anchor", run, "-o", tmp_path / "next", "--set", "max_epochs=1", "--no-report")
    assert load(tmp_path / "next").event_shape_ == (20, 16)
    must(capsys, "transform", tmp_path / "next", "-o", codes)
    must(capsys, "transform", run, other / "03.png", "-o", codes)
    assert np.load(codes).shape == (1, 2)
    deep = textures(tmp_path / "c", 12, dtype=np.uint16, scale=257)
    answer = ask(capsys, "transform", run, deep, "-o", codes)
    assert answer.code == 1 and "images of more than 8 bits, and the fit had bytes" in answer.err


@pytest.mark.parametrize("name", ["a.txt", ".a.png", "_a/a.png"])
def test_folders_without_images_are_named(tmp_path, name, capsys):
    folder = tmp_path / "in"
    save(folder / name, GREY, format="PNG")
    with pytest.raises(DataError, match="in holds no images: expected files that end in .bmp"):
        ImageFolderSource(folder)
    assert "is a folder without images" in ask(capsys, "fit", folder, "-o", tmp_path / "run").err
    answer = ask(capsys, "info", folder)
    assert answer.code == 1 and "in is a folder without a run (config.json) and without data" in answer.err


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
