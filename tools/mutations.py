"""Damage to files and to the folders of models, as faults and strangers do it."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    *(-1, 0, 1, 3, 65, 10**3, 10**6, 10**12, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e-300, 1e300, float("nan")),
    *(float("inf"), True, False, None, "", "x", "auto", "\0", "a" * 10**4, "%999999999d", "../x", [], {}, [[]], [None]),
    *([10**9], [1] * 5000, [8] * 1200, {"part": "priors.Normal"}, {"part": "os.system"}, {"module": "X"}),
    *({"part": "likelihoods.Categorical", "levels": 10**8}, {"part": "networks.MLP", "hidden": [10**6, 10**6]}),
)
"""Values that a configuration does not have, or elsewhere."""
DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I8", "U8", "BOOL", "F8_E4M3", "C64", "X")
HASHES = {"model.safetensors": "weights_sha256", "neighbors.safetensors": "neighbors_sha256"}


def mutated(content: bytes, draw: Random) -> bytes:
    """Change a few bytes, most often one, and of half of the zip archives those of a member; or cut the content off."""
    if content[:2] == b"PK" and draw.random() < 0.5:
        return with_mutated_member(content, draw)
    if draw.random() < 0.05:
        return content[: draw.randrange(len(content) + 1)]
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        if not found:
            break
        at = draw.randrange(len(found))
        if draw.random() < 0.4:  # in a header or a footer
            at = draw.choice([1, -1]) * draw.randrange(min(400, len(found)))
        match draw.randrange(6):
            case 0:
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                found[at] = draw.randrange(256)
            case 2:
                found[at] = draw.choice(b"0123456789-,.'\"{}[]()e \n")
            case 3:
                found[at:at] = draw.choice([b"\0", b"9", b"99999", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
            case 4:
                other = draw.randrange(len(found))
                found[at : at + 16] = found[other : other + 16]
            case _:
                found[at : at + 2] = draw.choice([b"", b"\xff\xff", b"\0\0"])
    return bytes(found)


def with_mutated_member(content: bytes, draw: Random) -> bytes:
    """Return a zip archive with one changed member, whose checksum is right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(members))
    members[name] = mutated(members[name], draw)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for key, value in members.items():
            archive.writestr(key, value)
    return made.getvalue()


def mutate_data(path: Path, draw: Random) -> str:
    """Damage a file, or one of a folder; return what was done."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    file = draw.choice(files)
    if draw.random() < 0.01:
        return in_its_place(file, draw)
    file.write_bytes(mutated(file.read_bytes(), draw))
    return f"bytes of {file.name}"


def mutate_run(run: Path, other: Path, draw: Random) -> str:
    """Damage a run, whose hashes agree most of the time; ``other`` is one of another kind."""
    what = draw.choices(["leaf", "bytes", "tensors", "swap", "special"], [60, 20, 13, 5, 2])[0]
    name = draw.choice([file.name for file in sorted(run.iterdir()) if file.suffix != ".md"])
    if what == "special":
        return in_its_place(run / name, draw)
    if what == "leaf":
        config = json.loads((run / "config.json").read_text())
        done = change_leaf(config, draw)
        (run / "config.json").write_text(json.dumps(config))
        return done
    if what == "swap" and (other / name).exists():
        shutil.copyfile(other / name, run / name)
    elif what == "tensors":
        name = "model.safetensors"
        (run / name).write_bytes(change_header((run / name).read_bytes(), draw))
    else:
        (run / name).write_bytes(mutated((run / name).read_bytes(), draw))
    if name in HASHES and draw.random() < 0.9:  # as one would who means harm
        config = json.loads((run / "config.json").read_text())
        config[HASHES[name]] = hashlib.sha256((run / name).read_bytes()).hexdigest()
        (run / "config.json").write_text(json.dumps(config))
    return f"{what} of {name}"


def change_leaf(config: dict[str, Any], draw: Random) -> str:
    """Change one place of a configuration; return which, and how."""
    *outer, last = draw.choice(list(places(config))[1:])
    place: Any = config
    for key in outer:
        place = place[key]
    match draw.randrange(8):
        case 0 if isinstance(place, dict):
            del place[last]
        case 1 if isinstance(place, dict):
            place[f"{last}x"] = place.pop(last)
        case 2:
            another = draw.choice(list(places(config))[1:])
            found: Any = config
            for key in another:
                found = found[key]
            place[last] = copy.deepcopy(found)
        case 3 if isinstance(place[last], int | float):
            place[last] = place[last] * draw.choice([-1, 2, 1e3, 1e9, 1e300]) + draw.choice([0, 1])
        case 4 if isinstance(place[last], list) and place[last]:
            place[last] = place[last] * draw.choice([0, 2, 100])
        case 5:
            place[last] = [place[last]]
        case _:
            place[last] = draw.choice(ODD)
    return f"{'.'.join(map(str, (*outer, last)))} of config.json"


def change_header(content: bytes, draw: Random) -> bytes:
    """Change type, shape, place or name of a tensor in a file of weights, or its values."""
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    name = draw.choice([key for key in sorted(header) if key != "__metadata__"])
    tensor = header[name]
    match draw.randrange(7):
        case 0:
            tensor["dtype"] = draw.choice(DTYPES)
        case 1:
            tensor["shape"] = draw.choice([tensor["shape"][::-1], [], [10**9, 10**9], [-1], "x", [*tensor["shape"], 1]])
        case 2:
            tensor["data_offsets"] = draw.choice([[0, 10**12], [4, 0], [0, 4], None, "x"])
        case 3:
            header[draw.choice(sorted(header))] = tensor
        case 4:
            header[draw.choice(["x", "model.x", "__metadata__", "a" * 1000])] = header.pop(name)
        case 5:
            size = draw.choice([0, 1, 10**6, 2**40, 2**63])
        case _:
            start, stop = tensor["data_offsets"]
            value = draw.choice([b"\xff\xff\x7f\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\1\0\0\0", b"\xff" * 4])
            body[start:stop] = (value * (stop - start))[: stop - start]
    changed = json.dumps(header).encode()
    length = len(changed) if size == int.from_bytes(content[:8], "little") else size
    return length.to_bytes(8, "little") + changed + bytes(body)


def in_its_place(file: Path, draw: Random) -> str:
    """Put something that is no file in the place of a file."""
    what = draw.choice(["a named pipe", "a folder", "a loop of links", "a link to a device", "nothing", "no bytes"])
    file.unlink()
    match what:
        case "a named pipe":
            os.mkfifo(file)
        case "a folder":
            file.mkdir()
        case "a loop of links":
            file.symlink_to(file.name)
        case "a link to a device":
            file.symlink_to("/dev/zero")
        case "no bytes":
            file.touch()
    return f"{what} in the place of {file.name}"


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place in nested dictionaries and lists; of long lists the first ones."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value[:20]) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))
