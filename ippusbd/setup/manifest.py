"""The record of what `ippusbd setup` wrote: with it, nothing else is ever replaced or removed.

It is in a folder of root's, not in the state directory: whoever can write it decides which files
root deletes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from ippusbd.errors import IppUsbError
from ippusbd.init_system import Init

FILE: Final = Path("/usr/local/lib/ippusbd/installed.json")


@dataclass(slots=True)
class Manifest:
    version: str
    init: str
    complete: bool = False  # every file was written and every command succeeded
    files: dict[str, str] = field(default_factory=dict)  # path: fingerprint
    folders: list[str] = field(default_factory=list)  # that were created, outermost first

    def save(self, root: Path) -> None:
        path = below(root, FILE)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self), indent=1) + "\n")
        new.chmod(0o644)
        new.replace(path)


def load(root: Path = Path("/")) -> Manifest | None:
    """The record below `root`; None if setup installed nothing. Raises IppUsbError."""
    path = below(root, FILE)
    try:
        found = Manifest(**json.loads(path.read_bytes()))
        Init(found.init)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as exc:
        remedy = f"delete {path.parent} and run setup again"
        raise IppUsbError(f"{path} cannot be read ({exc}): {remedy}") from exc
    return found


def below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def fingerprint(path: Path) -> str:
    """Of a file's or link's content; "" if nothing is there."""
    try:
        if path.is_symlink():
            return link_fingerprint(str(path.readlink()))
        return content_fingerprint(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as exc:  # a folder, for example: not ours
        return f"error {exc.errno}"


def content_fingerprint(content: bytes) -> str:
    return sha256(content).hexdigest()


def link_fingerprint(target: str) -> str:
    return f"-> {target}"
