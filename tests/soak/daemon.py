"""`python -m soak.daemon CONFIG`: the daemon in a process of its own, with another's printers.

`service.run` is what `ippusbd run` calls: supervisor, sites, broker, control socket, state file.
Only the bus, in the folder of the configuration, is another process's. A line on standard input
is answered by a line with what the process holds; its last line reports what was logged.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

from soak.gauge import measure
from soak.watchman import Watchman
from support.remote_bus import RemoteHost

from ippusbd.config import load
from ippusbd.daemon import service
from ippusbd.daemon.recovery import verdict

# As the time-outs of the configuration: no page takes longer here, and no client waits for more.
PRINTING_S = 30.0


async def serve(path: Path) -> int:
    watchman = Watchman()
    loop = asyncio.get_running_loop()
    watchman.start(loop)
    loop.add_reader(sys.stdin, _answer)
    config = replace(load(path), quirks_dirs=())  # none of this machine's
    status = await service.run(config, RemoteHost(path.parent), hotplug=False)
    _tell(watchman.report())
    return status


def _answer() -> None:
    if sys.stdin.readline():
        _tell(asdict(measure()))
    else:  # the other process is gone
        asyncio.get_running_loop().remove_reader(sys.stdin)
        os.kill(os.getpid(), signal.SIGTERM)


def _tell(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    # Hardware waits for no processor: what a printer has to say comes within the 50 ms that the
    # daemon listens for stale bytes, however busy the machine is.
    os.nice(10)
    verdict.PRINTING_S = PRINTING_S  # type: ignore[misc]
    sys.exit(asyncio.run(serve(Path(sys.argv[1]))))
