"""Facts as hypothesis draws them: any string, of any length, in every place."""

from __future__ import annotations

from hypothesis import strategies as st

from ippusbd.model import (
    BusAddress,
    DeviceFacts,
    PrinterFacts,
    ProbeResult,
    ScannerFacts,
    UsbId,
)

anything = st.text(st.characters(), max_size=40)  # lone surrogates and controls too
texts = st.one_of(
    anything,
    st.sampled_from(
        ["", "HP", "Büro (USB)", "http://192.0.2.7/#x", "http://[::1", "https://h/a b"]
    ),
    st.builds(lambda text, times: text * times, anything, st.sampled_from([1, 20, 300])),
)
lists = st.lists(
    st.one_of(texts, st.sampled_from(["application/pdf", "image/urf", "a,b", "x" * 300])),
    max_size=30,
).map(tuple)
flags = st.sampled_from([None, True, False])
devices = st.builds(
    DeviceFacts,
    usb_id=st.builds(UsbId, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    address=st.builds(
        BusAddress, st.integers(0, 255), st.integers(0, 127), st.sampled_from(["", "1-2.13", "x"])
    ),
    manufacturer=texts,
    product=texts,
    serial=texts,
    device_id=texts,
)
printers = st.builds(
    PrinterFacts,
    **dict.fromkeys(
        ("dns_sd_name", "make_and_model", "info", "location", "uuid", "paper_max", "more_info"),
        texts,
    ),
    **dict.fromkeys(("mopria", "device_id"), texts),
    **dict.fromkeys(("pdl", "urf", "kind"), lists),
    **dict.fromkeys(("color", "duplex"), flags),
)
scanners = st.builds(
    ScannerFacts,
    **dict.fromkeys(
        ("version", "make_and_model", "serial", "uuid", "admin_uri", "icon_uri"), texts
    ),
    **dict.fromkeys(("pdl", "color_spaces", "sources"), lists),
    duplex=st.booleans(),
)
probes = st.builds(
    ProbeResult,
    device=devices,
    printer=st.none() | printers,
    scanner=st.none() | scanners,
    fax=st.booleans(),
)
