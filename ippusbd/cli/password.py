"""`ippusbd password`: an entry for the users file of shared printers.

Only prints it: the administrator decides who owns the file and who may read it.
"""

from __future__ import annotations

import argparse
import getpass
import sys

from ippusbd.cli.common import Exit, add_command
from ippusbd.cli.output import write
from ippusbd.errors import IppUsbError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "password",
        _password,
        summary="print an entry for the users file of shared printers",
        description="Ask for a password and print an entry with the hashed password for the file\n"
        "users_file in [share]. If standard input is no terminal, its first line is the password.",
        examples=["ippusbd password anna | sudo tee -a /etc/ippusbd/users"],
        config=False,
    )
    parser.add_argument("user", metavar="USER", help="the user name that clients send")


def _password(args: argparse.Namespace) -> Exit:
    from ippusbd.users.passwords import line

    write(line(args.user, _password_from_user()))
    return Exit.OK


def _password_from_user() -> str:
    """The password; on a terminal it is asked for twice, without echo."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise IppUsbError("the two passwords differ")
    return password
