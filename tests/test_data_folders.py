"""A folder is replaced as a whole, by one process at a time, and keeps what is of others."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from latentmap.data import folders
from latentmap.data.files import atomic_path, write_text
from latentmap.data.folders import atomic_folder, fixed
from latentmap.data.locks import locked
from latentmap.data.temporary import clean, sweep, temporary_folder
from latentmap.exceptions import DataError

OWN = ("first", "figures", "last")


def write(folder, text):
    (folder / "figures").mkdir(exist_ok=True)
    for name in ("first", "figures/map", "last"):
        (folder / name).write_text(text)


def replaced(target, text):
    with atomic_folder(target, OWN, "last") as folder:
        write(folder, text)


def texts(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def whole(text):
    return dict.fromkeys(["first", "figures/map", "last"], text)


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed twice"])
def system(request, monkeypatch):
    """A system that can exchange two folders, and one that cannot."""
    if not request.param:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    return request.param


def test_a_folder_is_made_and_replaced(tmp_path, system):
    target = tmp_path / "new" / "run"
    for text in ("old", "new"):
        replaced(target, text)
        assert texts(tmp_path) == {f"new/run/{name}": data for name, data in whole(text).items()}


def test_what_is_of_others_stays(tmp_path, system):
    replaced(tmp_path / "run", "old")
    notes = tmp_path / "run" / "notes"
    (notes / "deep").mkdir(parents=True)
    (notes / "deep" / "mine").write_text("mine")
    (notes / "link").symlink_to("deep/mine")
    (notes / "lost").symlink_to("nowhere")
    os.mkfifo(notes / "pipe")
    (tmp_path / "run" / ".hidden").write_text("mine")
    number = (notes / "deep" / "mine").stat().st_ino
    (tmp_path / "run" / "figures" / "extra").write_text("old")
    replaced(tmp_path / "run", "new")
    assert sorted(os.listdir(notes)) == ["deep", "link", "lost", "pipe"] and os.readlink(notes / "lost") == "nowhere"
    assert (notes / "deep" / "mine").stat().st_ino == number and (notes / "link").read_text() == "mine"
    (notes / "pipe").unlink()
    kept = {"notes/deep/mine": "mine", "notes/link": "mine", ".hidden": "mine"}
    assert texts(tmp_path / "run") == whole("new") | kept


def test_files_are_copied_where_there_are_no_links(tmp_path, monkeypatch):
    replaced(tmp_path / "run", "old")
    (tmp_path / "run" / "mine").write_text("mine")

    def unsupported(*arguments, **options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    replaced(tmp_path / "run", "new")
    assert texts(tmp_path / "run") == whole("new") | {"mine": "mine"}


@pytest.mark.parametrize("error", [RuntimeError("failed"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_an_error_keeps_the_old_folder(tmp_path, system, error):
    replaced(tmp_path / "run", "old")
    with pytest.raises(DataError if isinstance(error, OSError) else type(error)):
        with atomic_folder(tmp_path / "run", OWN, "last") as folder:
            write(folder, "new")
            raise error
    assert texts(tmp_path) == {f"run/{name}": "old" for name in whole("old")}


def test_errors_name_files_as_they_are_to_be_called(tmp_path):
    with pytest.raises(DataError) as caught, atomic_folder(tmp_path / "run", OWN, "last") as folder:
        (folder / "first").mkdir()
        write_text(folder / "first", "text")
    assert f"cannot write {tmp_path}/run/first: " in str(caught.value)


def test_a_new_folder_that_cannot_take_its_name_is_kept(tmp_path, monkeypatch):
    replaced(tmp_path / "run", "old")

    def refused(one, other):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(folders, "exchange", refused)
    with pytest.raises(
        DataError, match=r"cannot replace .*run \(Invalid cross-device link\): the new one is in"
    ) as caught:
        replaced(tmp_path / "run", "new")
    assert texts(tmp_path / "run") == whole("old")
    assert texts(tmp_path / os.path.basename(str(caught.value).split()[-1])) == whole("new")


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "run").write_text("mine")
    for attempt in (replaced, lambda target, text: locked(target).__enter__()):
        with pytest.raises(DataError, match="cannot write .*run: "):
            attempt(tmp_path / "run", "new")
    assert texts(tmp_path) == {"run": "mine"}


def test_permissions_stay(tmp_path, system):
    target = tmp_path / "run"
    replaced(target, "old")
    assert target.stat().st_mode & 0o777 == 0o777 & ~current_umask()
    target.chmod(0o2770)
    (target / "first").chmod(0o640)
    replaced(target, "new")
    assert target.stat().st_mode & 0o7777 == 0o2770 and (target / "first").stat().st_mode & 0o777 == 0o640
    assert (target / "last").stat().st_mode & 0o777 == 0o666 & ~current_umask()
    write_text(target / "last", "other")
    (target / "last").chmod(0o600)
    write_text(target / "last", "another")
    assert (target / "last").stat().st_mode & 0o777 == 0o600


def current_umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_a_link_to_a_folder_is_followed(tmp_path, system):
    replaced(tmp_path / "elsewhere" / "real", "old")
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere" / "real")
    replaced(tmp_path / "run", "new")
    assert (tmp_path / "run").is_symlink() and texts(tmp_path / "elsewhere" / "real") == whole("new")
    assert os.listdir(tmp_path / "elsewhere") == ["real"]


@pytest.mark.parametrize("letter", ["n", "ñ"])
def test_names_may_be_as_long_as_the_system_takes(tmp_path, letter):
    name = letter * (250 // len(letter.encode()))
    replaced(tmp_path / name, "old")
    replaced(tmp_path / name, "new")
    write_text(tmp_path / f"{name}.txt", "text")
    assert sorted(os.listdir(tmp_path)) == [name, f"{name}.txt"]


def test_the_current_folder_gets_files_one_by_one_and_the_last_one_last(tmp_path, monkeypatch):
    target = tmp_path / "run"
    target.mkdir()
    monkeypatch.chdir(target)
    number, moved = target.stat().st_ino, []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda one, other: (moved.append(other.name), replace(one, other)))
    for text in ("old", "new"):
        replaced(".", text)
        assert texts(target) == whole(text) and target.stat().st_ino == number
    assert moved == ["first", "map", "last"] * 2


def test_folders_that_keep_their_place_are_known(tmp_path, monkeypatch):
    (tmp_path / "run" / "below").mkdir(parents=True)
    assert fixed(tmp_path / "run") is None and fixed(tmp_path / "missing") is None
    assert fixed("/proc") == "it is a mount point"
    monkeypatch.chdir(tmp_path / "run" / "below")
    assert fixed(".") == fixed(tmp_path / "run") == "it is the current folder, or holds it"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert fixed("run") == "the folder that holds it cannot be written to"


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path):
    dead = [".run.new-01234567/weights", ".run.new-89abcdef/x/y", "run/.run.new-01234567/x"]
    others = [".run.new-0123", ".other.new-01234567/x", ".run.newer-01234567", "run.new-01234567", ".0123456-run"]
    for name in [*dead, *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / ".01234567-run").write_text("of version 0.1")
    with temporary_folder(tmp_path / "run") as living:
        clean(tmp_path / "run")
        assert living.is_dir()
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert left == set(others)
    clean(tmp_path / "run")
    assert not living.exists()
    sweep(tmp_path)
    assert not (tmp_path / ".other.new-01234567").exists() and (tmp_path / ".run.new-0123").exists()


def test_temporary_files_of_version_0_1_in_a_folder_go_with_it(tmp_path):
    for text in ("old", "new"):
        replaced(tmp_path / "run", text)
        (tmp_path / "run" / ".01234567-first").write_text("half")
    replaced(tmp_path / "run", "newer")
    assert texts(tmp_path / "run") == whole("newer")


def test_a_folder_that_was_moved_away_is_put_back(tmp_path):
    replaced(tmp_path / "run", "old")
    os.rename(tmp_path / "run", tmp_path / ".run.old-01234567")
    write(temporary(tmp_path / ".run.new-01234567"), "new")
    clean(tmp_path / "run")
    assert texts(tmp_path) == {f"run/{name}": "old" for name in whole("old")}
    write(temporary(tmp_path / ".run.old-01234567"), "older")
    clean(tmp_path / "run")
    assert texts(tmp_path) == {f"run/{name}": "old" for name in whole("old")}


def temporary(path):
    path.mkdir()
    return path


def test_one_process_writes_at_a_time(tmp_path):
    hold = "import sys, time; from latentmap.data.locks import locked\n"
    hold += "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path / "run"], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DataError, match="run is being written by another process; wait for it or choose another"):
            locked(tmp_path / "run").__enter__()
        other.send_signal(signal.SIGKILL)
        other.wait()
    with locked(tmp_path / "run"):
        pass
    (tmp_path / "run").rmdir()  # which was not of the second


def test_a_lock_waits_and_holds_for_the_folder_that_took_the_name(tmp_path):
    inside, order = threading.Event(), []

    def first():
        with locked(tmp_path / "run"):
            inside.set()
            time.sleep(0.3)
            replaced(tmp_path / "run", "new")
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with locked(tmp_path / "run", wait=30):
        order.append("second")
        with pytest.raises(DataError, match="another process"):
            locked(tmp_path / "run").__enter__()
    thread.join()
    assert order == ["first", "second"] and texts(tmp_path / "run") == whole("new")


def test_a_lock_removes_the_folders_that_it_made_and_nothing_came_into(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("new/deep/run", "there"):
        with pytest.raises(RuntimeError), locked(tmp_path / name):
            assert (tmp_path / name).is_dir()
            raise RuntimeError
    assert os.listdir(tmp_path) == ["there"]


def test_systems_without_locks_write_without(tmp_path, monkeypatch):
    def unsupported(*arguments):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", unsupported)
    (tmp_path / ".run.new-01234567").mkdir()
    with locked(tmp_path / "run"):
        replaced(tmp_path / "run", "new")
    with atomic_path(tmp_path / "text") as path:
        path.write_text("text")
    assert texts(tmp_path / "run") == whole("new") and (tmp_path / "text").read_text() == "text"
    assert (tmp_path / ".run.new-01234567").exists()  # it may be of a living process
