"""One target under atheris: `python -m fuzz.one [--shallow] TARGET SEEDS -OPTION=VALUE ...`.

The parsers are instrumented as they are imported, so this comes first. With `--shallow` the
targets alone are: inputs are hardly guided by coverage, and several times as many are tried.
"""

from __future__ import annotations

import logging
import sys

import atheris

READERS = (
    *("wire", "quirks", "config", "ipp_usb_conf", "ini_lines", "toml_lines", "toml_merge"),
    *("toml_schema", "daemon.state", "exchange.pending_cancels", "users.passwords"),
)

shallow = sys.argv[1] == "--shallow"
if shallow:
    del sys.argv[1]
instrumented = ["fuzz"] if shallow else [f"ippusbd.{name}" for name in READERS]
with atheris.instrument_imports(include=instrumented):
    from fuzz.targets import TARGETS


class Formatting(logging.Handler):
    """What is logged of an input can be formatted, and is not printed."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


def main() -> None:
    logging.getLogger().addHandler(Formatting())
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
