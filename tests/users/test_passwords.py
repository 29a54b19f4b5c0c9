"""The file of users: lines that a command makes, and lines that somebody wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ippusbd.errors import ConfigError
from ippusbd.users.passwords import Users, line


def written(folder: Path, *lines: str) -> Path:
    path = folder / "users"
    path.write_text("\n".join(lines))
    return path


def test_the_same_password_has_a_different_hash_every_time(tmp_path: Path):
    first, second = line("anna", "geheim"), line("berta", "geheim")
    assert first.partition(":")[2] != second.partition(":")[2]
    assert "geheim" not in first
    users = Users(written(tmp_path, first, second))
    assert users.verify("anna", "geheim")
    assert users.verify("berta", "geheim")
    assert not users.verify("berta", "Geheim")
    assert not users.verify("carla", "geheim")


@pytest.mark.parametrize(
    ("user", "password"),
    [("", "x"), ("a:b", "x"), ("#a", "x"), (" a", "x"), ("a\n", "x"), ("a", "")],
)
def test_invalid_names_and_passwords_are_refused(user: str, password: str):
    with pytest.raises(ConfigError):
        line(user, password)


@pytest.mark.parametrize(
    "bad",
    [
        *("anna", "anna:geheim", "anna:scrypt:16384:8:1:AAAA", "anna:scrypt:16384:8:1:AAAA:AAAA"),
        "anna:md5:16384:8:1:AAAA:" + "A" * 44,
        "anna:scrypt:16383:8:1:AAAA:" + "A" * 44,
        "anna:scrypt:1073741824:8:1:AAAA:" + "A" * 44,  # would take a terabyte
        "anna:scrypt:16384:8:0:AAAA:" + "A" * 44,
        "anna:scrypt:16384:8:1:A:" + "A" * 44,
    ],
)
def test_an_invalid_line_is_named_by_its_number(tmp_path: Path, bad: str):
    path = written(tmp_path, "# users", "", line("berta", "x"), bad)
    with pytest.raises(ConfigError, match="users:4: not a line"):
        Users(path)


def test_a_file_that_cannot_be_read_is_named_with_its_key(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"\[share\] users_file: .*missing: No such file"):
        Users(tmp_path / "missing")
    (tmp_path / "raw").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        Users(tmp_path / "raw")


def command(user: str, password: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ippusbd", "password", user],
        input=password,
        capture_output=True,
        check=False,
        text=True,
    )


def test_the_command_prints_an_entry_that_the_file_accepts(tmp_path: Path):
    done = command("anna", "mit Leerzeichen \n")
    assert done.returncode == 0
    users = Users(written(tmp_path, done.stdout))
    assert users.verify("anna", "mit Leerzeichen ")


def test_the_command_refuses_a_name_with_a_colon():
    done = command("an:na", "x\n")
    assert done.returncode == 2
    assert "colon" in done.stderr
