r"""Inputs kept as text: lines of a bytes literal, put together; `#` begins a remark.

    HTTP/1.1 200 OK\r\n
    \r\n

`corpus/TARGET/` holds the seeds, `found/TARGET/` inputs that once caused a fault.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
LINE: Final = 88


def read(path: Path) -> bytes:
    """The input in a file."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return b"".join(ast.literal_eval(f"b'''{line}'''") for line in lines)


def write(path: Path, data: bytes, remark: str = "") -> None:
    """Keep an input."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out, line = [f"# {remark}"] if remark else [], ""
    for byte in data:
        line += _literal(byte)
        if byte == 0x0A or len(line) >= LINE:
            out.append(line)
            line = ""
    path.write_text("\n".join([*out, line]) + "\n")


def _literal(byte: int) -> str:
    known = {0x0A: r"\n", 0x0D: r"\r", 0x5C: r"\\"}
    plain = 0x20 < byte < 0x7F and chr(byte) not in "'#"
    return known.get(byte) or (chr(byte) if plain else f"\\x{byte:02x}")


def kept(target: str) -> list[Path]:
    """All files of a target."""
    return sorted(path for folder in ("corpus", "found") for path in _files(folder, target))


def _files(folder: str, target: str) -> list[Path]:
    return list((HERE / folder / target).glob("*.txt"))
