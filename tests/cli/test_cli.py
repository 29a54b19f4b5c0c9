"""The commands: their output, their exit codes, and that they answer at once."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.answering_daemon import answering_daemon

from ippusbd import __version__
from ippusbd import config as configuration
from ippusbd.cli import main as cli
from ippusbd.cli import output, status
from ippusbd.cli.main import MODULES
from ippusbd.cli.run import ready_lines
from ippusbd.daemon.observe.status import PrinterStatus
from ippusbd.dataclass_json import decode
from ippusbd.errors import UsbError
from ippusbd.kinds import Kind
from ippusbd.local_commands import LocalCommands

HEAVY = ("asyncio", "aiohttp", "usb", "dbus_fast", "zeroconf", "pyudev", "h11", "PIL")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ippusbd.conf"
    path.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n'
        f'quirks_dirs = ["{tmp_path}/quirks"]\n[dnssd]\npublisher = "off"\n'
    )
    return path


@pytest.fixture
def ippusbd(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit code, standard output, standard error."""

    def call(*argv: object) -> tuple[int, str, str]:
        if argv[:1] == ("status",) and "--config" not in argv:
            argv = (*argv, "--config", config)
        try:
            code = cli.main([str(arg) for arg in argv])
        except SystemExit as exc:
            code = int(exc.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def answer(config: Path) -> Iterator[Callable[[object], None]]:
    """Makes a running daemon answer this, or refuse with this error."""
    with answering_daemon(config.parent / "run" / "control.sock") as daemon:
        yield lambda value: setattr(daemon, "answer", value)


Ippusbd = Callable[..., tuple[int, str, str]]
Answer = Callable[[object], None]


# --- help, usage, errors


def test_the_help_of_every_command_ends_with_examples(ippusbd: Ippusbd):
    code, out, _ = ippusbd("--help")
    assert code == 0
    assert "exit status: 0 success, 1 failure" in out
    for command in ("run", "status", "check", "quirks", "version"):
        code, out, _ = ippusbd(command, "--help")
        assert code == 0
        assert f"\nexamples:\n  ippusbd {command}" in out


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("dance",),
        ("status", "--xml"),
        ("run", "--virtual", "0"),
        ("run", "--virtual", "17"),
        ("run", "--virtual", "two"),
        ("run", "--interfaces", "5"),
        ("run", "--virtual", "--virtual-if-none"),
    ],
)
def test_wrong_usage_exits_with_2_and_shows_the_usage(ippusbd: Ippusbd, argv: tuple[str, ...]):
    code, _, err = ippusbd(*argv)
    assert code == 2
    assert err.startswith("usage: ippusbd")


def test_the_version_is_that_of_the_package(ippusbd: Ippusbd):
    assert ippusbd("version") == (0, f"ippusbd {__version__}\n", "")
    assert ippusbd("--version")[1] == f"ippusbd {__version__}\n"


@pytest.mark.parametrize("command", ["run", "status", "check", "quirks"])
def test_a_wrong_configuration_exits_with_2_and_what_to_do(
    ippusbd: Ippusbd, config: Path, command: str
):
    config.write_text("[listen]\nport = 1\n")
    code, out, err = ippusbd(command, "--config", config)
    assert (code, out) == (2, "")
    wrong, remedy = err.splitlines()
    assert wrong == f"ippusbd: {config}:2: unknown key in [listen]: port (did you mean port_min?)"
    assert remedy == f"ippusbd: to do (configuration): {Kind.CONFIGURATION.of().remedy}"


def test_a_wrong_quirk_file_is_found_by_check(ippusbd: Ippusbd, config: Path):
    (config.parent / "quirks").mkdir()
    (config.parent / "quirks" / "x.toml").write_text('[[quirk]]\nmodel = "x"\n')
    code, _, err = ippusbd("check", "--config", config)
    assert code == 2
    assert "x.toml:1: an entry needs a reason" in err


def test_without_a_daemon_status_exits_with_3_and_says_how_to_start_it(
    ippusbd: Ippusbd, config: Path
):
    code, out, err = ippusbd("status", "--config", config)
    assert (code, out) == (3, "")
    assert "no daemon is running" in err
    assert "ippusbd run" in err


def test_the_systems_daemon_is_found_unless_the_user_runs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    own, system = tmp_path / "ippusbd", tmp_path / "system"
    monkeypatch.setattr(configuration, "SYSTEM_RUNTIME", system)
    monkeypatch.setattr(configuration, "default_file", lambda environ, uid: None)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(own))
    assert cli.main(["log"]) == 3
    assert f"none at {own}/control.sock or {system}/control.sock" in capsys.readouterr().err
    with answering_daemon(system / "control.sock") as theirs:
        theirs.answer = {"usb": "theirs"}
        assert cli.main(["log"]) == 0
        assert "theirs" in capsys.readouterr().out
        with answering_daemon(own / "control.sock") as mine:
            mine.answer = {"usb": "mine"}
            assert cli.main(["log"]) == 0
            assert "mine" in capsys.readouterr().out


def test_errors_are_printed_without_control_characters(ippusbd: Ippusbd, answer: Answer):
    answer(UsbError("printer \x1b[31mred\nippusbd: all is well"))
    code, _, err = ippusbd("status")
    assert code == 1
    said, remedy = err.splitlines()
    assert said == "ippusbd: printer \\x1b[31mred\\nippusbd: all is well"
    assert remedy.startswith("ippusbd: to do (transfer): wait for the recovery")


def test_ctrl_c_is_130_and_no_traceback(ippusbd: Ippusbd, monkeypatch: pytest.MonkeyPatch):
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "run", interrupted)
    code, _, err = ippusbd("status")
    assert (code, err) == (130, "")


def test_a_closed_pipe_causes_no_traceback():
    shell = f"{sys.executable} -m ippusbd quirks | head -1"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, check=False, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("argv", [["--help"], ["version"], ["status"], ["status", "--json"]])
def test_nothing_heavy_is_imported_for_a_short_answer(argv: list[str], config: Path):
    code = (
        "import sys\nfrom ippusbd.cli import main as cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    if argv[0] == "status":
        argv = [*argv, "--config", str(config)]
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, check=True, text=True
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "ippusbd" in loaded
    assert not loaded & set(HEAVY)
    if argv[0] != "status":
        assert not [name for name in loaded if name.startswith("ippusbd.daemon.observe.status")]
    if argv[0] != "--help":
        others = {f"ippusbd.cli.{name}" for name in MODULES} - {f"ippusbd.cli.{argv[0]}"}
        assert not loaded & others


# --- status


PRINTER: Mapping[str, object] = {
    "id": "03f0:1234",
    "serial": "ABC",
    "address": "001:005",
    "model": "HP LaserJet 9",
    "state": "ready",
    "reason": None,
    "port": 60000,
    "name": "HP LaserJet 9 (USB)",
    "announced": "established",
    "url": "http://localhost:60000/",
    "interfaces": {"total": 3, "in_use": 1, "broken": 0, "waiting": 0},
    "requests": 1,
    "bytes_in": 1500,
    "bytes_out": 2_500_000,
}
PRINT: Mapping[str, object] = {
    "interface": 0,
    "client": "CUPS/2.4 (uid 0)",
    "request": "POST /ipp/print",
    "kind": "document",
    "size": 3_100_000,
    "bytes_out": 2_400_000,
    "for_s": 120,
    "still_s": 60,
    "waits_for": "the printer to take data",
}
QUEUED: Mapping[str, object] = {"interface": None, "size": 400, "bytes_out": 0}
STATUS: Mapping[str, object] = {
    "schema": 1,
    "version": "0.1.0",
    "pid": 42,
    "phase": "running",
    "uptime_s": 7510.0,
    "publisher": {"kind": "avahi", "state": "established"},
    "printers": [PRINTER],
}


def test_status_shows_daemon_and_printers(ippusbd: Ippusbd, answer: Answer):
    answer(STATUS)
    code, out, _ = ippusbd("status")
    assert code == 0
    assert out.splitlines() == [
        "ippusbd 0.1.0, process 42, running for 2 h 5 min",
        "announcing with avahi: established",
        "",
        "HP LaserJet 9 (03f0:1234): ready",
        "  device      at 001:005, serial ABC",
        "  web page    http://localhost:60000/",
        "  name        HP LaserJet 9 (USB)",
        "  interfaces  3, 1 in use",
        "  traffic     1 request, 2.5 MB to the printer, 1.5 kB from it",
    ]


def test_status_shows_the_reason_of_trouble_and_omits_unknown_values(
    ippusbd: Ippusbd, answer: Answer
):
    reason = {"kind": "silent", "text": "no answer", "remedy": "wait"}
    answer({**STATUS, "printers": [{"id": "03f0:1", "state": "waiting", "reason": reason}]})
    _, out, _ = ippusbd("status")
    assert out.splitlines()[2:] == [
        "",
        "printer (03f0:1): waiting, no answer",
        "  to do       wait",
    ]


def test_status_says_what_is_waited_for_and_on_which_proof_something_was_ended(
    ippusbd: Ippusbd, answer: Answer
):
    ended = [{"age_s": 90, "interface": 1, "proof": "no byte for 300 s"}]
    waits = "the printer reports media-empty; interface 0 waits"
    stalls = {"waits_for": waits, "waits_s": 600, "exchanges": [PRINT, {**PRINT, **QUEUED}]}
    paper = {"reason": "media-empty", "text": "paper out", "severity": "error"}
    condition = {"asks": [paper], "since_s": 660, "jobs": 2}
    told = {**PRINTER, **stalls, "ended": ended, "condition": condition}
    answer({**STATUS, "printers": [told]})
    _, out, _ = ippusbd("status")
    since = r"\d\d:\d\d"
    both = "a print of 3.1 MB and a print of 400 bytes wait"
    assert re.search(rf"\n  waiting     paper out since {since}: {both}\n", out)
    assert (
        "  interface 0 a print of 3.1 MB for CUPS/2.4 (uid 0): 2.4 MB sent, 0 bytes read in 2 min"
        " (20.0 kB/s); waits for the printer to take data for 1 min\n" in out
    )
    assert "  queued      a print of 400 bytes for CUPS/2.4 (uid 0), for 2 min\n" in out
    assert f"  not ended   {waits} (10 min)\n" in out
    assert "  jobs        2 at the printer\n" in out
    assert "  ended       interface 1, 1 min 30 s ago: no byte for 300 s\n" in out


def test_status_shows_what_was_learned_and_why_nothing_is_announced(
    ippusbd: Ippusbd, answer: Answer
):
    printer = {**PRINTER, "announced": "no Avahi", "learned": {"max_interfaces": 1}}
    answer({**STATUS, "printers": [printer]})
    _, out, _ = ippusbd("status")
    assert "  announced   no Avahi\n" in out
    assert "  learned     max_interfaces = 1\n" in out


def test_status_of_a_starting_daemon_is_complete(ippusbd: Ippusbd, answer: Answer):
    answer({"schema": 1, "version": "0.1.0", "pid": 1, "phase": "starting"})
    code, out, _ = ippusbd("status")
    assert code == 0
    assert "starting for 0 s" in out
    assert "no IPP-over-USB printer" in out


def test_status_json_is_the_daemons_answer(ippusbd: Ippusbd, answer: Answer):
    answer(STATUS)
    assert json.loads(ippusbd("status", "--json")[1]) == STATUS


def test_the_status_can_be_watched(config: Path, answer: Answer):
    answer(STATUS)
    watch = [sys.executable, "-m", "ippusbd", "status", "--watch", "1", "--config", str(config)]
    with subprocess.Popen([*watch, "--json"], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        for _ in range(2):
            assert json.loads(watching.stdout.readline()) == STATUS
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130


@pytest.mark.parametrize("pause", ["0", "-1", "1.5", "x", "1e9"])
def test_a_pause_that_is_none_is_wrong_usage(ippusbd: Ippusbd, pause: str):
    code, _, err = ippusbd("status", "--watch", pause)
    assert code == 2
    assert "whole number of seconds" in err or "expected" in err


def test_what_another_version_adds_or_leaves_out_does_no_harm(ippusbd: Ippusbd, answer: Answer):
    answer({**STATUS, "moon": "full", "printers": [{**PRINTER, "scent": ["ink"]}]})
    assert "HP LaserJet 9 (03f0:1234): ready\n" in ippusbd("status")[1]


@pytest.mark.parametrize("schema", [{}, {"schema": 99}])
def test_a_status_of_another_schema_is_refused_with_a_remedy(
    ippusbd: Ippusbd, answer: Answer, schema: dict[str, int]
):
    other = {"version": "9.0", "printers": "many", **schema}
    answer(other)
    code, _, err = ippusbd("status")
    assert code == 1
    assert "the running daemon (9.0) has a status of schema" in err
    assert "to do (other-daemon): " in err
    assert LocalCommands().restart in err
    assert json.loads(ippusbd("status", "--json")[1]) == other


def test_control_characters_in_names_do_not_reach_the_terminal(ippusbd: Ippusbd, answer: Answer):
    evil = {**PRINTER, "name": "\x1b]0;owned\x07\n\x9b2J", "model": "a\rb"}
    answer({**STATUS, "printers": [evil]})
    for option in ([], ["--json"]):
        _, out, _ = ippusbd("status", *option)
        assert not any((ord(char) < 32 and char != "\n") or 126 < ord(char) < 160 for char in out)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_durations_are_readable(seconds: float, text: str):
    assert status.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (5e6, "5.0 MB"), (7e12, "7000.0 GB")],
)
def test_sizes_are_readable(count: float, text: str):
    assert status.size(count) == text


# --- quirks


def test_quirks_shows_value_file_line_and_reason(ippusbd: Ippusbd, config: Path):
    code, out, _ = ippusbd("quirks", "--config", config, "--device", "Brother QL-810W")
    assert code == 0
    lines = out.splitlines()
    at = lines.index("max_interfaces = 1")
    assert lines[at + 1].endswith("brother.toml:4 (for Brother QL-810W)")
    reason = "hangs when two of its interfaces are used at once (ipp-usb issue 97)"
    assert lines[at + 2] == f"  reason {reason}"


def test_quirks_names_the_lines_of_ipp_usbs_files_without_effect(ippusbd: Ippusbd, config: Path):
    folder = config.parent / "quirks"
    folder.mkdir()
    (folder / "own.conf").write_text("[Jet*]\nno-such-key = 1\nhttp-a = b\n")
    unused = f"not used: {folder}/own.conf:2: [Jet*] no-such-key = 1: is no key that is known here"
    assert unused in ippusbd("quirks", "--config", config)[1]
    about_it = ippusbd("quirks", "--config", config, "--device", "Jet 9")[1]
    assert unused in about_it
    assert 'headers = { "a" = "b" }' in about_it
    assert unused not in ippusbd("quirks", "--config", config, "--device", "Other")[1]


def test_quirks_accepts_ids_and_local_files(ippusbd: Ippusbd, config: Path):
    own = config.parent / "quirks" / "own.toml"
    own.parent.mkdir()
    own.write_text('[[quirk]]\nusb = "03f0:1234"\nreason = "mine"\nfax = false\n')
    _, out, _ = ippusbd("quirks", "--config", config, "--device", "03F0:1234", "--all")
    assert f"fax = false\n  from   {own}:4 (for 03f0:1234)\n  reason mine" in out
    assert "max_interfaces = unset  (default)" in out


def test_quirks_without_a_device_lists_all_entries(ippusbd: Ippusbd, config: Path):
    _, out, _ = ippusbd("quirks", "--config", config)
    assert 'HP OfficeJet Pro 8730: connection = "close" (' in out


# --- check and doctor


def command(name: str, config: Path) -> tuple[int, str]:
    """Exit code and output; in a process of its own, because libusb keeps descriptors open."""
    argv = [sys.executable, "-m", "ippusbd", name, "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    return done.returncode, done.stdout


def test_check_prints_findings_and_opens_no_device_of_the_running_daemon(
    config: Path, answer: Answer
):
    answer({**STATUS, "pid": 77})
    code, out = command("check", config)
    assert code == 0
    assert f"ok    configuration: {config}\n" in out
    assert "ok    ippusbd 0.1.0 is running, process 77\n" in out


def test_check_fails_where_a_directory_cannot_be_written(config: Path):
    (config.parent / "state").write_text("a file is in the way")
    code, out = command("check", config)
    assert code == 1
    assert f"FAIL  state: {config.parent}/state" in out
    assert "\n      -> set another state_dir in [daemon]" in out


def test_check_changes_nothing(config: Path):
    before = sorted(config.parent.rglob("*"))
    command("check", config)
    assert sorted(config.parent.rglob("*")) == before


def test_doctor_finds_before_a_start_what_check_finds(config: Path):
    (config.parent / "state").write_text("a file is in the way")
    _, checked = command("check", config)
    code, out = command("doctor", config)
    assert code == 1
    (failed,) = [line for line in checked.splitlines() if line.startswith("FAIL")]
    assert failed in out.splitlines()


# --- what run prints


def test_a_ready_printer_comes_with_commands_to_paste():
    assert list(ready_lines(decode(PrinterStatus, PRINTER), "avahi")) == [
        "",
        "HP LaserJet 9 (USB)  http://localhost:60000/",
        "  look   curl http://localhost:60000/",
        "  ask    ipptool -tv ipp://localhost:60000/ipp/print get-printer-attributes.test",
        "  print  lp -d HP_LaserJet_9_USB FILE.pdf",
        "  scan   scanimage -d \"$(scanimage -f '%d%n' | grep -m1 "
        "'^airscan:e[0-9]*:HP LaserJet 9 (USB)$')\" --format=png -o page.png",
    ]


@pytest.mark.parametrize(
    ("publisher", "announced"),
    [("zeroconf", "established"), ("off", "off"), ("avahi", "collision")],
)
@pytest.mark.parametrize(
    ("bus", "options"), [(True, ""), (False, "[options]\\ndiscovery = disable\\n")]
)
def test_a_printer_that_avahi_does_not_announce_comes_with_lines_that_configure_it(
    publisher: str,
    announced: str,
    bus: bool,
    options: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    path = tmp_path if bus else tmp_path / "none"
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
    row = decode(PrinterStatus, {**PRINTER, "announced": announced})
    assert list(ready_lines(row, publisher))[-4:] == [
        "  queue  lpadmin -p HP_LaserJet_9_USB -E -v ipp://localhost:60000/ipp/print -m everywhere",
        "  print  lp -d HP_LaserJet_9_USB FILE.pdf",
        f"  add    printf '{options}[devices]\\n"
        "HP_LaserJet_9_USB = http://localhost:60000/eSCL/, eSCL\\n'"
        " | tee -a /etc/sane.d/airscan.conf",
        "  scan   scanimage -d \"$(scanimage -f '%d%n' | grep -m1 "
        "'^airscan:e[0-9]*:HP_LaserJet_9_USB$')\" --format=png -o page.png",
    ]


def test_a_name_cannot_inject_a_command_into_pasted_lines():
    evil = decode(PrinterStatus, {**PRINTER, "name": "x'; rm -rf ~; $(reboot) `id` \n"})
    for line in ready_lines(evil, "avahi"):
        assert "\n" not in line
    script = list(ready_lines(evil, "avahi"))[-1].removeprefix("  scan   ")
    script = script.replace("scanimage", "echo")
    done = subprocess.run(
        ["sh", "-c", f"reboot() {{ echo BOOM; }}; rm() {{ echo BOOM; }}; {script}"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "BOOM" not in done.stdout + done.stderr


def test_lines_are_printed_without_control_characters(capsys: pytest.CaptureFixture[str]):
    output.show(["a\x1bb"])
    assert capsys.readouterr().out == "a\\x1bb\n"


# --- sharing


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ('users_file = "/nowhere"', "[share] users_file: /nowhere: No such file"),
        ('certificate = "/nowhere"\nkey = "/nowhere"', "[share] certificate: /nowhere: No such"),
    ],
)
def test_check_names_files_that_sharing_cannot_use(
    ippusbd: Ippusbd, config: Path, share: str, said: str
):
    more = f'\n[listen]\ninterface = "all"\n[share]\n{share}\n'
    config.write_text(config.read_text() + more)
    code, _, err = ippusbd("check", "--config", config)
    assert code == 2
    assert said in err


def test_status_shows_sharing_and_the_fingerprint(ippusbd: Ippusbd, answer: Answer):
    shared = {"interfaces": ["eth0"], "passwords": True, "console": True, "fingerprint": "AB:CD"}
    answer({"schema": 1, "sharing": shared})
    _, out, _ = ippusbd("status")
    assert "shared on eth0, with a password, web consoles too\ncertificate AB:CD (SHA-256)\n" in out
    answer({"schema": 1, "sharing": {"interfaces": [], "trouble": "no network"}})
    _, out, _ = ippusbd("status")
    assert (
        "shared on no interface (none has an address now), without a password; no network\n" in out
    )
