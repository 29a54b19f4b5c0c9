"""The container of packaging/container, built by buildah without a registry.

Its base is not Debian's image of that name, but what mmdebstrap makes from the package sources of
this machine: the same packages. The host's network and a chroot replace namespaces, which not every
machine that builds may make. Everything that buildah stores is thrown away.

Knows this machine's side only.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from kit import HERE, run

PROJECT = HERE.parents[1]
RECIPE = Path("packaging/container")
HOST = ("packaging/container/README.md", "packaging/udev/71-ippusbd.rules")


def build_container(deb: Path, release: str, target: Path) -> None:
    """`target`/container.tar, and `target`/host with what the README needs. Raises KitError."""
    for name in HOST:
        (target / "host" / name).parent.mkdir(parents=True)
        shutil.copy(PROJECT / name, target / "host" / name)
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        context = Path(scratch) / "context"
        shutil.copytree(PROJECT / RECIPE, context / RECIPE)
        (context / "dist").mkdir()
        shutil.copy(deb, context / "dist")
        base = Path(scratch) / "base.tar"
        sources = Path(scratch) / "sources.list"
        sources.write_text(run([PROJECT / "packaging/apt-sources", release]))
        run(["mmdebstrap", "--variant=minbase", release, base, sources])
        name = re.findall(r"(?m)^FROM (.*)$", (context / RECIPE / "Containerfile").read_text())[0]
        store = ("--root", f"{scratch}/store", "--runroot", f"{scratch}/run")
        buildah = ["buildah", *store, "--storage-driver", "vfs"]
        (context / "Base").write_text("FROM scratch\nADD base.tar /\n")
        base.rename(context / "base.tar")
        build = [*buildah, *("build", "--format", "docker", "--pull-never")]
        build += ["--isolation", "chroot", "--network", "host"]
        run([*build, "-t", name, "-f", context / "Base", context])
        run([*build, "-t", "ippusbd", "-f", context / RECIPE / "Containerfile", context])
        run([*buildah, "push", "ippusbd", f"docker-archive:{target}/container.tar:ippusbd:latest"])
