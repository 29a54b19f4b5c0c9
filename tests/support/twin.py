"""The printer of the desk's model that a neighbour has on the network: `python twin.py PORT`.

Run in the neighbour's namespace, where a daemon serves a virtual printer on the loopback. The port
is relayed from the network, and announced there with zeroconf as a network printer does it: under
the device's own name, with its own UUID. Prints "announced"; stays until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
import urllib.request

from ippusbd.dnssd.protocols import ESTABLISHED
from ippusbd.dnssd.scope import Scope
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher
from ippusbd.model import BusAddress, DeviceFacts, ProbeResult, UsbId
from ippusbd.wire import escl, ipp, ipp_facts, txt

ADDRESS = "192.0.2.20"
HOST = "twin.local"


def ask(port: int) -> ProbeResult:
    """What the printer says about itself."""
    here = f"http://127.0.0.1:{port}"
    question = urllib.request.Request(
        f"{here}/ipp/print",
        ipp_facts.question(f"ipp://localhost:{port}/ipp/print"),
        {"Content-Type": "application/ipp"},
    )
    with urllib.request.urlopen(question) as answer:
        printer = ipp_facts.facts(ipp.decode(answer.read())[0])
    with urllib.request.urlopen(f"{here}/eSCL/ScannerCapabilities") as answer:
        scanner = escl.capabilities(answer.read())
    return ProbeResult(DeviceFacts(UsbId(0, 0), BusAddress(0, 0)), printer, scanner)


async def relay(port: int) -> None:
    async def pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                to.write(data)
                await to.drain()
            to.write_eof()
        except OSError:
            to.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))
        back.close()
        writer.close()

    await asyncio.start_server(connected, ADDRESS, port)


async def main(port: int) -> None:
    await relay(port)
    services = txt.services(ask(port), port=port, suffix="")
    publisher = ZeroconfPublisher(scope=Scope(("far0",), HOST, (ADDRESS,)))
    await publisher.start()
    publication = await publisher.publish(services)
    assert publication.state == ESTABLISHED, publication.state
    sys.stdout.write("announced\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
