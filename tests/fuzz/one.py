"""One target under atheris: `python -m fuzz.one TARGET SEEDS -OPTION=VALUE ...`.

The parsers are instrumented as they are imported, so this comes first.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ippusbd.wire"]):
    from fuzz.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
