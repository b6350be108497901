"""The containers get no more rights than they need, as far as the files say; no engine runs here."""

from __future__ import annotations

import re

import yaml

from tests.make_run import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_the_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users
    assert users[-1].isdigit()
    assert int(users[-1]) > 0
    assert f"--uid {users[-1]} " in DOCKERFILE


def test_the_image_is_made_of_what_is_pinned() -> None:
    assert re.search(r"^FROM [a-z/]+:\d+\.\d+\.\d+-", DOCKERFILE, re.MULTILINE)
    installed = re.findall(r"pip install (.*)", DOCKERFILE)
    assert installed
    assert all("--require-hashes" in words or "--no-index" in words for words in installed)
    assert not re.search(r"^ADD |curl|wget", DOCKERFILE, re.MULTILINE)


def test_what_is_ours_has_no_rights_and_writes_only_its_volumes() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    ours = {name: service for name, service in services.items() if "build" in service}
    assert len(ours) == 6
    for name, service in ours.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert service["tmpfs"] == ["/tmp"], name  # noqa: S108  # of the container, in memory
        assert not {"privileged", "cap_add", "user", "network_mode", "pid"} & service.keys(), name
