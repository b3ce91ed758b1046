"""Small faults put into a source file, one at a time, each of which a test should notice.

Operators: comparisons and arithmetic swapped, terms of sums and factors of products removed, numbers moved by one or
set to 0, truths and conditions negated, "and" for "or", signs and "not" dropped, min for max and mean for sum, method
calls dropped (`.exp()`, `.detach()`, `.clamp()`), named arguments dropped, the last axis taken for the first, branches
of `where` swapped, statements left out, and the first argument returned in place of the result.

Left out by rule, because no test of a value can or should see them: docstrings and other texts, annotations, imports,
decorators, assertions, `__repr__`; errors and warnings with the names that are read in them alone; settings' defaults,
which are choices; how bits are scrambled, where others serve as well (SCRAMBLED); code for speed or for the
type checker (PERFORMANCE, UNSEEN, `.contiguous()`, autocast, which does nothing in single precision).
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

PERFORMANCE = {"PAIRS", "CACHED", "GPU_VALUES", "CHUNK", "SAMPLES", "outputs"}
"""Names of settings of how much is done at a time."""
SCRAMBLED = {"_MIX", "_scramble"}
UNSEEN = {"device", "validate_args", "stacklevel", "strict", "non_blocking", "copy", "samples", "retain_graph"}
"""Named arguments that change speed or device, and no value on one processor."""
COMPARED = {
    ast.Lt: ("<=", ">"),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<"),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
COMPUTED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*"}
SWAPPED = {
    **{"min": "max", "max": "min", "amin": "amax", "amax": "amin", "argmin": "argmax", "argmax": "argmin"},
    **{"clamp_min": "clamp_max", "clamp_max": "clamp_min", "minimum": "maximum", "maximum": "minimum"},
    **{"mean": "sum", "sum": "mean", "any": "all", "all": "any", "exp": "expm1", "expm1": "exp"},
    **{"log": "log1p", "log1p": "log", "nansum": "nanmean", "nanmean": "nansum"},
}
DROPPED = {
    *("detach", "exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "square", "abs", "reciprocal", "sigmoid", "tanh"),
    *("clamp", "clamp_min", "clamp_max", "softmax", "log_softmax", "logsumexp", "round", "floor", "sign", "nan_to_num"),
    *("masked_fill", "tril", "double", "float", "softplus", "flatten", "mean", "sum", "cumsum", "sort", "eval"),
}
"""Methods whose object may replace their result."""


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    operator: str
    original: str
    mutated: str
    start: int
    end: int
    """The end of the replaced bytes."""

    def of(self, source: bytes) -> bytes:
        """Return the source with the fault."""
        return source[: self.start] + self.mutated.encode() + source[self.end :]

    def to_json(self) -> dict[str, object]:
        """Return plain JSON."""
        return {name: value for name, value in asdict(self).items() if name not in ("start", "end")}


def mutants(path: Path, root: Path, seed: int) -> list[Mutant]:
    """Return one mutant for each place and operator; the seed chooses among an operator's several."""
    source = path.read_bytes()
    tree, choice = ast.parse(source), random.Random(seed)
    name = str(path.relative_to(root))
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    faults = []
    for node in _visible(tree):
        for operator, target, options in _operators(node):
            start = starts[target.lineno - 1] + target.col_offset
            end = starts[target.end_lineno - 1] + target.end_col_offset
            original, mutated = source[start:end].decode(), choice.choice(options)
            faults.append(Mutant(name, target.lineno, operator, original, mutated, start, end))
    return faults


def differs(mutant: Mutant, root: Path) -> bool:
    """Return whether a mutant is valid Python, and a different program."""
    source = (root / mutant.file).read_bytes()
    try:
        return ast.dump(ast.parse(mutant.of(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def _visible(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that are not left out by rule."""
    texts = _names_of_texts(tree)

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        if _left_out(node, texts):
            return
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not (isinstance(node, ast.ClassDef) and _is_setting(child)):
                    yield from walk(child)

    yield from walk(tree)


def _left_out(node: ast.AST, texts: set[str]) -> bool:
    if isinstance(node, ast.Raise | ast.Assert | ast.Import | ast.ImportFrom | ast.JoinedStr):
        return True
    if isinstance(node, ast.FunctionDef):
        return node.name == "__repr__" or node.name in SCRAMBLED
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or ast.unparse(node.value).startswith("warnings.")
    if isinstance(node, ast.withitem):
        return "autocast" in ast.unparse(node) or "warnings" in ast.unparse(node)
    if isinstance(node, ast.keyword):
        return node.arg in UNSEEN
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = {ast.unparse(target).removeprefix("self.") for target in _targets(node)}
        blocks = any(isinstance(n, ast.FloorDiv) for n in ast.walk(node)) and _reads(node) & PERFORMANCE
        alias = isinstance(node.value, ast.BinOp | ast.Subscript) and any(t[0].isupper() for t in targets)
        types = alias and any(s in ast.unparse(node) for s in ("Literal", "Callable", "type["))
        return bool(targets and targets <= texts | PERFORMANCE | SCRAMBLED) or bool(blocks) or types
    return False


def _is_setting(node: ast.AST) -> bool:
    """Return whether a line of a class is a setting with its default."""
    return isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation)


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    (first, *more) = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [*(first.elts if isinstance(first, ast.Tuple) else [first]), *more]


def _reads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _names_of_texts(tree: ast.Module) -> set[str]:
    """Return the names that errors and warnings alone read."""
    inside, every = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and "warnings.warn" in ast.unparse(node)):
            inside += [n for n in ast.walk(node) if isinstance(n, ast.Name)]
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            every.append(node)
    return {n.id for n in inside} - {n.id for n in every if n not in inside}


def _operators(node: ast.AST) -> Iterator[tuple[str, ast.AST, tuple[str, ...]]]:
    """Yield (operator, replaced node, replacements)."""
    text = ast.unparse
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        swaps = COMPARED[type(node.ops[0])]
        options = tuple(f"{text(node.left)} {swap} {text(node.comparators[0])}" for swap in swaps)
        yield "comparison swapped", node, _in_parentheses(options)
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not _is_text(node):
        left, right = (f"({text(side)})" for side in (node.left, node.right))
        yield "arithmetic swapped", node, (f"({left} {COMPUTED[type(node.op)]} {right})",)
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            yield "term removed", node, ((left, right) if isinstance(node.op, ast.Add | ast.Mult) else (left,))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        yield "logic swapped", node, (f"(({text(node.left)}) | ({text(node.right)}))",)
    elif isinstance(node, ast.BoolOp):
        other = " or " if isinstance(node.op, ast.And) else " and "
        yield "logic swapped", node, (f"({other.join(f'({text(value)})' for value in node.values)})",)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        last = isinstance(node.op, ast.USub) and ast.unparse(node.operand) == "1"
        yield "axis swapped" if last else "sign dropped", node, ("0" if last else f"({text(node.operand)})",)
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.UnaryOp | ast.Compare):
        yield "condition negated", node.test, (f"(not ({text(node.test)}))",)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield "statement removed", node, ("pass",)
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call) and node.value.args:
        if not isinstance(node.value.args[0], ast.Starred | ast.GeneratorExp):
            yield "first argument returned", node.value, (f"({text(node.value.args[0])})",)


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.AST, tuple[str, ...]]]:
    if isinstance(node.value, bool):
        yield "truth negated", node, (str(not node.value),)
    elif isinstance(node.value, int | float):
        options = {node.value + 1, node.value - 1, type(node.value)(0)} - {node.value}
        yield "number moved", node, tuple(f"({value!r})" for value in sorted(options))


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST, tuple[str, ...]]]:
    function, text = node.func, ast.unparse
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    given = ", ".join([*map(text, node.args), *(text(keyword) for keyword in node.keywords)])
    if name in SWAPPED:
        owner = f"({text(function.value)})." if isinstance(function, ast.Attribute) else ""
        yield "function swapped", node, (f"{owner}{SWAPPED[name]}({given})",)
    if name in DROPPED and isinstance(function, ast.Attribute) and text(function.value) not in ("torch", "math", "np"):
        yield "method dropped", node, (f"({text(function.value)})",)
    if name == "where" and len(node.args) == 3:
        condition, yes, no = map(text, node.args)
        yield "branches swapped", node, (f"{text(function)}({condition}, {no}, {yes})",)
    named = [keyword for keyword in node.keywords if keyword.arg and keyword.arg not in UNSEEN]
    left = [
        ", ".join([*map(text, node.args), *(text(other) for other in node.keywords if other is not keyword)])
        for keyword in named
    ]
    if left:
        yield "argument dropped", node, tuple(f"{text(function)}({some})" for some in left)


def _in_parentheses(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"({option})" for option in options)


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in ast.walk(node)
    )
