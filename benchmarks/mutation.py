"""The fraction of small faults in the package that its tests notice.

python -m benchmarks.mutation [--files model objectives estimators/scoring.py] [--count 300] [--seed 0]

Mutants (see `benchmarks.mutants`) are drawn evenly over the lines of the files. One process imports what the tests
import, but for the package and the tests themselves, and forks for each mutant: the child reads the source with the
fault in it, and runs the tests that enter its block, the fastest first, up to the first that fails. A first run of all
tests, on sources that record which blocks are entered, finds these; ``--map`` stores its result.
A mutant that takes far longer than the tests should counts as caught. Results go to benchmarks/results/mutation.json.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import importlib
import importlib.machinery
import json
import os
import random
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mutants import Mutant, differs, mutants

ROOT = Path(__file__).parents[1]
SOURCES = ("model", "objectives", "estimators/scoring.py", "estimators/imputation.py")
TESTS = (
    *("model", "objectives", "estimators", "recipes", "persistence", "training", "evaluation_evidence"),
    *("data_cells", "data_columns", "data_scaling", "correctness"),
)
"""Beginnings of the names of the test files of these sources."""
SLOW, ENOUGH, MOST = 30.0, 6.0, 60.0
"""Seconds of a test that is too slow to run; of the fast tests that run first; of all tests of a mutant."""
ALREADY = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Plugins are imported before pytest could rewrite them, which does not matter here."""
OURS = ("latentmap", "tests", "test_", "conftest", "benchmarks", "parts", "shapes", "graphs", "tapes", "__main__")
"""Modules of each child's own."""


def main() -> None:
    """Draw mutants, see which are killed, print the fraction by file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", nargs="+", default=SOURCES, help="files or folders of src/latentmap")
    parser.add_argument("--count", type=int, default=300, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="beginnings of the names of test files")
    parser.add_argument("--map", type=Path, help="file with the blocks that each test enters")
    parser.add_argument("--jobs", type=int, default=1, help="mutants that are tried at a time")
    parser.add_argument("--out", default="mutation", help="name of the result")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT)]
    sys.dont_write_bytecode = True
    files = sorted(path for name in options.files for path in _files(ROOT / "src/latentmap" / name))
    every = [mutant for path in files for mutant in mutants(path, ROOT, options.seed)]
    known = _known(options.map, files, options.tests)
    for module in known["modules"]:
        _import(module)
    results: list[dict[str, Any]] = []
    chosen = [*drawn(every, options.count, options.seed)]
    controls = [Mutant(name, 1, "none", "", "", 0, 0) for name in dict.fromkeys(mutant.file for mutant in chosen)]
    for result in _results([*chosen, *controls], known, options.jobs):
        print(len(results), result["file"], result["line"], result["operator"], "|", result["killed_by"], flush=True)
        if result["operator"] == "none":
            if result["killed_by"] is not None:
                sys.exit(f"{result['file']} as it stands fails {result['killed_by']}")
            continue
        if result["killed_by"] is None:
            print(f"    {result['original']}\n    {result['mutated']}", flush=True)
        results.append(result)
        results.sort(key=lambda result: (result["file"], result["line"], result["operator"]))
        _write(options.out, {"of": len(every), "seed": options.seed, "shares": fractions(results), "mutants": results})
    for name, (killed, count) in fractions(results).items():
        print(f"{name:55} {killed:4d} of {count:4d}  {killed / count:4.0%}")


def drawn(every: list[Mutant], count: int, seed: int) -> Iterable[Mutant]:
    """Draw at equal steps, so that each file is represented."""
    count, start = min(count, len(every)), random.Random(seed).random()
    for i in range(count):
        mutant = every[int((i + start) * len(every) / count)]
        if differs(mutant, ROOT):
            yield mutant


def _results(chosen: list[Mutant], known: dict[str, Any], jobs: int) -> Iterator[dict[str, Any]]:
    """Yield results as they come, of so many processes at a time."""
    ours, theirs = os.pipe()
    for job in range(jobs):
        if not os.fork():
            for mutant in chosen[job::jobs]:
                os.write(theirs, json.dumps(mutant.to_json() | tried(mutant, known)).encode() + b"\n")
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as results:
        yield from map(json.loads, results)


def fractions(results: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return the numbers of killed and of all mutants, by file and in total."""
    counts: dict[str, tuple[int, int]] = {}
    for result in results:
        for name in (result["file"], "all"):
            killed, count = counts.get(name, (0, 0))
            counts[name] = killed + (result["killed_by"] is not None), count + 1
    return dict(sorted(counts.items(), key=lambda item: item[0] == "all"))


def tried(mutant: Mutant, known: dict[str, Any]) -> dict[str, Any]:
    """Run the tests of a mutant, the slow ones apart; return which one killed it, of how many, in how many seconds."""
    start, tests = time.perf_counter(), tests_for(mutant, known)
    killed = None
    for some in tests:
        killed = killed or _killed(mutant, some, known)
    seconds = round(time.perf_counter() - start, 1)
    return {"killed_by": killed, "tests": sum(map(len, tests)), "seconds": seconds}


def _killed(mutant: Mutant, tests: list[str], known: dict[str, Any]) -> Any:
    def run() -> str | None:
        _replace({mutant.file: mutant.of((ROOT / mutant.file).read_bytes())})
        watch = Watch(tests)
        code = pytest.main(["-x", *_options(), *sorted({name.split("::")[0] for name in tests})], plugins=[watch])
        return watch.failed or (None if code == pytest.ExitCode.OK else f"pytest's exit {int(code)}")

    seconds = sum(known["tests"][name]["seconds"] for name in tests)
    return _child(run, cpu=30 + 10 * seconds) if tests else None


def tests_for(mutant: Mutant, known: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the tests that enter the mutant's block, or else its class or file: the fastest, and some others."""
    tests, blocks = known["tests"], _around(mutant)
    entering = [name for name in tests if blocks & set(tests[name]["blocks"])]
    chosen: tuple[list[str], list[str]] = ([], [])
    seconds = 0.0
    for name in sorted(entering, key=lambda name: tests[name]["seconds"]):
        seconds += tests[name]["seconds"]
        if seconds < MOST:
            chosen[seconds > ENOUGH].append(name)
    return chosen


def _around(mutant: Mutant) -> set[str]:
    tree = ast.parse((ROOT / mutant.file).read_bytes())
    within = [span for span in _spans(tree) if span[0] <= mutant.line <= span[1]]
    if within:
        return {f"{mutant.file}:{max(within, key=lambda span: (span[0], -span[1]))[0]}"}
    classes = [(node.lineno, node.end_lineno or 0) for node in tree.body if isinstance(node, ast.ClassDef)]
    first, last = next((span for span in classes if span[0] <= mutant.line <= span[1]), (0, 10**9))
    return {f"{mutant.file}:{start}" for start, _ in _spans(tree) if first <= start <= last}


class Watch:
    """Selects some tests, in their order by file, and records the first that fails."""

    def __init__(self, tests: list[str]) -> None:
        self.place = {name: i for i, name in enumerate(tests)}
        self.failed: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self.place]
        first: dict[str, int] = {}
        for item in kept:
            first[item.nodeid.split("::")[0]] = min(
                self.place[item.nodeid], first.get(item.nodeid.split("::")[0], len(self.place))
            )
        items[:] = sorted(kept, key=lambda item: (first[item.nodeid.split("::")[0]], self.place[item.nodeid]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.failed is None:
            self.failed = f"importing {report.nodeid}"


class Notes:
    """Records the blocks that each test enters, itself or through its fixtures, and its seconds."""

    def __init__(self, screen: int) -> None:
        self.screen = screen
        self.tests: dict[str, dict[str, Any]] = {}
        self.fixtures: dict[tuple[str, str], tuple[set[str], float]] = {}
        self.entered: set[str] = set()
        self.waited = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Any:
        before, self.entered, start = self.entered, set(), time.process_time()
        try:
            return (yield)
        finally:
            seconds = time.process_time() - start
            self.waited += seconds
            known, most = self.fixtures.get((fixturedef.baseid, fixturedef.argname), (set(), 0.0))
            self.fixtures[fixturedef.baseid, fixturedef.argname] = (known | self.entered, max(seconds, most))
            self.entered = before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Any:
        self.entered, self.waited, start = set(), 0.0, time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SLOW)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
            seconds = time.process_time() - start - self.waited
            fixtures = [
                (definition.baseid, definition.argname)
                for definitions in getattr(item, "_fixtureinfo", None).name2fixturedefs.values()
                for definition in definitions
            ]
            os.write(self.screen, f"{seconds:8.2f} s  {item.nodeid}\n".encode())
            self.tests[item.nodeid] = {"blocks": self.entered, "seconds": seconds, "fixtures": fixtures, "passed": True}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self.failed = {*getattr(self, "failed", ()), report.nodeid}

    def summary(self) -> dict[str, Any]:
        """Return the blocks of each passing test, and its seconds with those of its fixtures."""
        tests = {}
        for name, test in self.tests.items():
            if name in getattr(self, "failed", ()):
                continue
            of = [self.fixtures[key] for key in test["fixtures"] if key in self.fixtures]
            blocks = set.union(test["blocks"], *(blocks for blocks, _ in of))
            tests[name] = {"blocks": sorted(blocks), "seconds": test["seconds"] + sum(seconds for _, seconds in of)}
        return tests


def _known(place: Path | None, files: list[Path], names: Iterable[str]) -> dict[str, Any]:
    """Return which tests enter which blocks, from a child process or the file of an earlier run."""
    if place is not None and place.exists():
        known: dict[str, Any] = json.loads(place.read_text())
        return known

    screen = os.dup(1)

    def run() -> dict[str, Any]:
        notes = Notes(screen)
        signal.signal(signal.SIGVTALRM, _too_slow)
        builtins.entered = lambda block: notes.entered.add(block)  # type: ignore[attr-defined]
        _replace({str(path.relative_to(ROOT)): _noting(path) for path in files})
        tests = [str(path) for name in names for path in sorted(ROOT.glob(f"tests/test_{name}*.py"))]
        doctests = [str(ROOT / "src/latentmap" / package) for package in ("model", "objectives", "estimators")]
        pytest.main([*_options(), *tests, *doctests], plugins=[notes])
        modules = [name for name in sys.modules if not name.startswith(OURS)]
        return {"tests": notes.summary(), "failed": sorted(getattr(notes, "failed", ())), "modules": modules}

    answer = _child(run, cpu=3600, wall=7200)
    if not isinstance(answer, dict):
        sys.exit(f"the tests could not be run: {answer}")
    print(f"{len(answer['tests'])} tests; left out, because they fail or are skipped: {answer['failed']}", flush=True)
    if place is not None:
        place.write_text(json.dumps(answer))
    return answer


def _too_slow(*_: object) -> None:
    raise TimeoutError("too slow")


def _options() -> list[str]:
    return ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=no", *ALREADY]


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _spans(tree: ast.AST) -> list[tuple[int, int]]:
    """Return the lines of every block of a function."""
    return [(block[0].lineno, block[-1].end_lineno or 0) for block in _blocks(tree)]


def _blocks(tree: ast.AST) -> list[list[ast.stmt]]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {id(node): node for function in functions for node in ast.walk(function)}
    lists = [getattr(node, name, None) for node in inside.values() for name in ("body", "orelse", "finalbody")]
    return [block for block in lists if isinstance(block, list) and block and isinstance(block[0], ast.stmt)]


def _noting(path: Path) -> bytes:
    """Return a source that records every block of a function that is entered."""
    tree = ast.parse(path.read_bytes())
    for block in _blocks(tree):
        name = f"{path.relative_to(ROOT)}:{block[0].lineno}"
        note = ast.Expr(ast.Call(ast.Name("entered", ast.Load()), [ast.Constant(name)], []))
        documented = isinstance(block[0], ast.Expr) and isinstance(block[0].value, ast.Constant)
        block.insert(int(documented), note)
    return ast.unparse(ast.fix_missing_locations(tree)).encode()


def _replace(sources: dict[str, bytes]) -> None:
    """Let imports read these sources in place of the files."""
    places = {str(ROOT / name): source for name, source in sources.items()}
    stems = {Path(name).stem for name in places}
    get_data = importlib.machinery.SourceFileLoader.get_data

    def read(self: Any, path: str) -> bytes:
        if path in places:
            return places[path]
        if path.endswith(".pyc") and "latentmap" in path and Path(path).name.split(".")[0] in stems:
            raise FileNotFoundError(path)
        return get_data(self, path)

    importlib.machinery.SourceFileLoader.get_data = read  # type: ignore[method-assign]


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception:  # some are made by those that use them
        pass


def _child(function: Callable[[], Any], cpu: float, wall: float = 600.0) -> Any:
    """Run a function in a fork of this process, within its seconds; return its result, or why it ended."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        os.close(ours)
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 5))
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silent, stream)
        try:
            answer = json.dumps(function())
        except BaseException as error:  # whatever ends it has caught it
            answer = json.dumps(f"{type(error).__name__} outside of tests")
        with os.fdopen(theirs, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(theirs)
    parts, end = [], time.monotonic() + wall
    while select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
        parts.append(os.read(ours, 2**16))
        if not parts[-1]:
            break
    os.close(ours)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(pid, 0)
    answer = b"".join(parts)
    return json.loads(answer) if answer else "the limit of time"


def _write(name: str, result: dict[str, Any]) -> None:
    path = ROOT / "benchmarks/results" / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
