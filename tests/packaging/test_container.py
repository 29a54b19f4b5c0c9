"""The container's configuration is valid, and the recipe copies existing files."""

from __future__ import annotations

import re
from pathlib import Path

from ippusbd.config import load

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "packaging/container/Containerfile"


def test_the_configuration_announces_with_files_in_a_volume() -> None:
    config = load(ROOT / "packaging/container/ippusbd.conf")
    volumes = re.findall(r"^VOLUME (.*)$", RECIPE.read_text(), flags=re.M)[0].split()
    assert config.dnssd == "static"
    assert {str(config.static_dir), str(config.state_dir)} == set(volumes)


def test_it_runs_as_a_user_and_copies_only_existing_files() -> None:
    text = RECIPE.read_text()
    assert "USER ippusbd:lp" in text
    for source in re.findall(r"^COPY (\S+) ", text, flags=re.M):
        assert (ROOT / source).exists() or source.startswith("dist/"), source
