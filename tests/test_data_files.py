"""A file is written whole or not at all."""

import json
import os
import stat

import pytest

from latentmap.data.files import atomic_path, write_bytes, write_json, write_text
from latentmap.exceptions import DataError


def test_writes_replace_the_file_and_leave_nothing_else(tmp_path):
    target = tmp_path / "new" / "folder" / "run.json"
    write_bytes(target, b"old")
    write_text(target, "µ\n")
    assert target.read_bytes() == "µ\n".encode()
    write_json(target, {"sigma": 0.5, "name": "µ"})
    assert json.loads(target.read_text(encoding="utf-8")) == {"sigma": 0.5, "name": "µ"}
    assert [path.name for path in target.parent.iterdir()] == ["run.json"]


@pytest.mark.parametrize("error", [RuntimeError("writer failed"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_a_failing_writer_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, error):
    target = tmp_path / "model.bin"
    target.write_bytes(b"old")
    expected = DataError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        assert target.read_bytes() == b"old"  # a reader sees the old file while the new one is being written
        raise error
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path):
    with atomic_path(tmp_path / "figure.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent.parent == tmp_path
        temporary.write_bytes(b"")


def test_a_writer_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot write .*empty.bin"), atomic_path(tmp_path / "empty.bin"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file/below.txt", "folder"])
def test_what_stands_in_the_way_is_named_in_one_line(tmp_path, name):
    (tmp_path / "file").write_text("a file where a folder is needed")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=f"cannot write .*{name}: ") as caught:
        write_text(tmp_path / name, "text")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_write_permission_is_named(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        if os.access(folder, os.W_OK):  # the superuser may write anywhere; the kernel's own folder refuses even that
            folder = type(tmp_path)("/proc/self")
        with pytest.raises(DataError, match="cannot write"):
            write_text(folder / "run.json", "{}")
        assert not (folder / "run.json").exists()
    finally:
        (tmp_path / "locked").chmod(stat.S_IRWXU)


def test_a_symbolic_link_is_followed(tmp_path):
    real = tmp_path / "real.txt"
    real.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "nan.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())
