"""No byte of a document gets into a log line or an error's text, by construction.

Documents and pages are bytes, and mypy refuses to format bytes (str-bytes-safe). So text comes of
them only where the code says so: by `!r`, `%r`, `repr`, `hex` and `decode`, or in an exception of
another program, which may quote. All log calls and all raised errors of the daemon are walked:
every such place must be listed here, and where documents pass, every `decode`. What is listed
are names, heads of HTTP, attributes of IPP, descriptors and settings.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from security.promises import PROJECT

ELSEWHERE = {"virtual", "setup", "doctor", "cli"}  # no document passes there
DOCUMENTS_PASS = {"wire", "proxy", "exchange", "usbio"}
LOG = {"debug", "info", "warning", "error", "exception", "critical", "log"}
MAKES_TEXT = {"repr", "ascii", "hex", "decode", "decoded"}
CODECS = {"ipp.decode", "ipp_codec.decode", "decode"}  # ours: bytes to attributes
ONLY_ABOUT = {"type", "isinstance", "why"}  # an exception
SAY_NO_MORE_THAN_ERRNO = {
    *("OSError", "FileNotFoundError", "PermissionError", "ConnectionError", "TimeoutError"),
    *("USBError", "ImportError", "RecursionError"),
}
QUOTED = {
    "aio.py": {"failure"},  # bugs of ours
    "usbio/pool.py": {"failure"},
    "broker/server.py": {"text[:40]"},  # messages of its clients
    "wire/broker.py": {"text[:40]"},
    "daemon/registry.py": {"selector", "found.name"},
    "daemon/state/state_file.py": {"document.get('version')"},
    "dnssd/avahi_publisher.py": {"name", "interface", "self._host"},
    "dnssd/limits.py": {"services.name"},
    "dnssd/naming.py": {"services.name"},
    "dnssd/publication.py": {"self.name"},
    "dnssd/select.py": {"kind"},
    "dnssd/zeroconf_publisher.py": {"exc"},
    "kinds.py": {"self.label"},
    "proxy/heads.py": {"target[:80]"},
    "users/passwords.py": {"user"},  # who is given a password
    "wire/descriptors.py": {"device[:18].hex()", "raw[:9].hex()"},
    "wire/escl.py": {"utf8_line(root.tag, 63)"},
    "wire/http1.py": {"method[:40]", "target[:80]", "name[:40]"},
    "wire/ipp_codec.py": {"attr.name", "attribute_name"},
}
FOREIGN = {
    "daemon/share/certificate.py": {"ValueError"},
    "dnssd/dbus.py": {"AuthError", "EOFError", "InvalidAddressError"},
    "dnssd/static_publisher.py": {"ParseError", "UnicodeDecodeError"},  # of a template
    "dnssd/zeroconf_publisher.py": {"Error"},
    "toml_lines.py": {"ValueError"},
    "toml_schema.py": {"ValueError"},
    "wire/ipp_codec.py": {"error"},  # struct's: numbers
    "wire/safe_xml.py": {"ExpatError", "LookupError", "ValueError"},  # say where, or an encoding
}
MADE_TEXT = {
    "exchange/pending_cancels.py": {"kept"},  # base64, for the state directory
    "proxy/access/network.py": {"_basic", "admits"},
    "proxy/access/rules.py": {"_ipp_activities"},  # URIs, judged only
    "proxy/forward.py": {"_request"},  # header fields
    "proxy/heads.py": {"_utf8"},
    "usbio/pool.py": {"_ended"},
    "wire/anonymous.py": {"_note", "text"},  # of IPP answers and reports, made anonymous
    "wire/broker.py": {"next_message"},
    "wire/descriptors.py": {"usb_id", "_settings", "parse_device_id", "decode_string"},
    "wire/http1_fields.py": {"head_lines"},
    "wire/ipp_codec.py": {"_begin_attribute"},
    "wire/ipp_values.py": {"_without_language", "python", "language"},
    "wire/links.py": {"learn", "_address", "_rewritten"},  # of URIs
    "wire/overheard.py": {"_reasons"},
    "wire/printer_status.py": {"_fields"},
    "wire/text.py": {"decoded", "clip"},
    "wire/txt.py": {"derived_uuid"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The daemon's, by their path in the package."""
    package = PROJECT / "ippusbd"
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        if name.split("/")[0] not in ELSEWHERE:
            yield name, ast.parse(path.read_text())


ERRORS = {
    each.name for _, tree in modules() for each in ast.walk(tree) if isinstance(each, ast.ClassDef)
}  # ours: what is raised of them is walked itself


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that log, and the errors that are raised."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield node.exc
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_log = node.func.attr in LOG and "log" in ast.unparse(node.func.value)
            yield from [node] if is_log else []


def quoted(call: ast.Call) -> Iterator[str]:
    """What among its arguments is made text explicitly, as source."""
    if call.args and isinstance(call.args[0], ast.Constant):
        places = str(call.args[0].value).replace("%%", "").split("%")[1:]
        for place, value in zip(places, call.args[1:], strict=False):
            if place[0] in "ra":
                yield ast.unparse(value)
    for node in ast.walk(call):
        if isinstance(node, ast.FormattedValue) and node.conversion in (ord("r"), ord("a")):
            yield ast.unparse(node.value)
    yield from (ast.unparse(each) for each in made_text(call))


def made_text(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name not in CODECS and name.rpartition(".")[2] in MAKES_TEXT:
            yield node


def foreign(tree: ast.AST) -> Iterator[str]:
    """The kinds of exceptions of other programs whose text is logged or raised."""
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler) and handler.type is not None:
            told = [each for step in handler.body for each in calls(step)]
            if any(tells(each, handler.name or "") for each in told):
                words = re.findall(r"(\w+)\b(?!\.)", ast.unparse(handler.type))
                yield from set(words) - ERRORS - SAY_NO_MORE_THAN_ERRNO


def tells(call: ast.Call, name: str) -> bool:
    """Whether the exception `name` itself is among its arguments, not only its type or errno."""
    parents = {child: node for node in ast.walk(call) for child in ast.iter_child_nodes(node)}
    for node, parent in parents.items():
        if isinstance(node, ast.Name) and node.id == name:
            about = isinstance(parent, ast.Call) and ast.unparse(parent.func) in ONLY_ABOUT
            if not isinstance(parent, ast.Attribute) and not about:
                return True
    return False


def test_what_is_logged_or_raised_quotes_only_what_is_listed():
    found = {name: {q for call in calls(tree) for q in quoted(call)} for name, tree in modules()}
    assert {name: texts for name, texts in found.items() if texts} == QUOTED


def test_exceptions_of_others_are_told_only_where_they_are_listed():
    found = {name: set(foreign(tree)) for name, tree in modules()}
    assert {name: kinds for name, kinds in found.items() if kinds} == FOREIGN


def test_where_documents_pass_text_is_made_only_of_what_is_listed():
    found: dict[str, set[str]] = {}
    for name, tree in modules():
        for function in ast.walk(tree) if name.split("/")[0] in DOCUMENTS_PASS else ():
            is_function = isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and any(made_text(function)):
                found.setdefault(name, set()).add(function.name)
    assert found == MADE_TEXT


def test_bytes_are_formatted_nowhere():
    """mypy's own check, which the three tests above stand on."""
    settings = (PROJECT / "pyproject.toml").read_text()
    assert "strict = true" in settings
    assert "str-bytes-safe" not in settings
