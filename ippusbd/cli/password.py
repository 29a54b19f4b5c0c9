"""`ippusbd password`: a line for the file of a shared printer's users.

Prints, and writes nowhere: whose file it is, and who may read it, is the administrator's affair.
"""

from __future__ import annotations

import argparse
import getpass
import sys

from ippusbd.cli.common import Exit, add_command
from ippusbd.errors import ConfigError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    parser = add_command(
        commands,
        "password",
        _password,
        summary="a line for the file of users of shared printers",
        description=(
            "Ask for a password and print a line for [share] users_file, from which the password"
            " cannot be told. Without a terminal the password is the first line of standard input."
        ),
        examples=["ippusbd password anna | sudo tee -a /etc/ippusbd/users"],
    )
    parser.add_argument("user", metavar="USER", help="the name that a client will give")


def _password(args: argparse.Namespace) -> Exit:
    from ippusbd.users.passwords import line

    print(line(args.user, _asked()))
    return Exit.OK


def _asked() -> str:
    """The password; it is not shown, and asked for twice, on a terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise ConfigError("the two passwords differ")
    return password
