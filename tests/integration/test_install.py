"""``systemd/install.sh`` where something goes wrong, or is elsewhere; ``containers/test_install.py`` has what goes well.

The folders that it writes to are others, for it alone. pip, systemd and the making of tables are stand-ins; all else is what it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FOLDERS = {"etc": "/etc", "opt": "/opt", "lib": "/var/lib", "backups": "/var/backups", "run": "/run", "srv": "/srv"}

PYTHON = """#!/bin/sh
# A Python whose environments hold nothing but stand-ins.
case "$*" in
"-m venv "*) mkdir -p "$3/bin" && cp {stubs}/pip {stubs}/llm-orchestrator {stubs}/python "$3/bin" ;;
*) exec {python} "$@" ;;
esac
"""

PIP = """#!/bin/sh
for package; do :; done
test "$package" != /nowhere
"""

PROGRAM = """#!/bin/sh
case "$*" in
version) echo "a version" ;;
"db migrate") test ! -e {stubs}/fails && exec {python} {stubs}/migrate.py ;;
restore*) test ! -e {stubs}/fails && exec {python} -m airflow_llm_provider.cli "$@" ;;
*) exec {python} -m airflow_llm_provider.cli "$@" ;;
esac
"""

MIGRATE = """
import os, sqlite3
from pathlib import Path
from airflow_llm_provider.cli.home import Home
from airflow_llm_provider.config.reading import read_configuration

says = read_configuration(Path(os.environ["ORCHESTRATOR_CONFIG"])).valid()
Home(says.home).prepare(says)
url = says.database.url.get_secret_value() if says.database.url else f"sqlite:///{says.home}/airflow.db"
print("migrates", url)
if says.database.kind == "sqlite":
    database = sqlite3.connect(url.partition("///")[2])
    database.execute("CREATE TABLE IF NOT EXISTS migrated (a)")
    database.execute("INSERT INTO migrated VALUES (1)")
    database.commit()
"""

SYSTEMCTL = """#!/bin/sh
echo "$*" >> {stubs}/systemctl.log
"""


class Machine:
    """A machine on which nothing is installed yet.

    Args:
        folder: What stands for its folders, and the stand-ins.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name, place in FOLDERS.items():
            if name == "etc":
                shutil.copytree(place, folder / name, symlinks=True, ignore_dangling_symlinks=True)
            else:
                (folder / name).mkdir()
        (folder / "run" / "systemd" / "system").mkdir(parents=True)
        (folder / "etc" / "systemd" / "system").mkdir(parents=True, exist_ok=True)
        self.stubs = folder / "opt" / "stubs"
        self.stubs.mkdir()
        texts = {"pip": PIP, "python": PYTHON, "llm-orchestrator": PROGRAM, "systemctl": SYSTEMCTL}
        for name, text in {**texts, "migrate.py": MIGRATE}.items():
            path = self.stubs / name
            path.write_text(text.replace("{stubs}", "/opt/stubs").replace("{python}", sys.executable))
            path.chmod(0o755)

    def do(self, command: str, *, fails: bool = False) -> str:
        """Run a command of the shell on it, and give what it says."""
        mounts = [f"mount --bind {self._folder / name} {place}" for name, place in FOLDERS.items()]
        if sys.base_prefix.startswith("/root/"):
            # Where root has a Python of its own, others get to that, and to nothing else of root's.
            above = Path(*Path(sys.base_prefix).parts[:3])
            mounts = [
                f"mkdir --parents {self._folder}/root/{above.name}",
                f"mount --bind {above} {self._folder}/root/{above.name}",
                f"mount --rbind {self._folder}/root /root",
                *mounts,
            ]
        environment = {**os.environ, "PATH": f"/opt/stubs:{os.environ['PATH']}", "PYTHON": "/opt/stubs/python"}
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-euc", "\n".join([*mounts, "cd /", command])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert bool(done.returncode) == fails, done.stdout
        return done.stdout

    def install(self, options: str = "", *, fails: bool = False) -> str:
        """Run the script."""
        return self.do(f"{REPOSITORY}/systemd/install.sh {options}", fails=fails)

    def releases(self) -> list[str]:
        """Give the names of the versions that are there."""
        return sorted(os.listdir(self._folder / "opt" / "llm-orchestrator-releases"))

    def path(self, path: str) -> Path:
        """Give what stands for a path of it."""
        name, place = next((name, place) for name, place in FOLDERS.items() if path.startswith(f"{place}/"))
        return self._folder / name / path.removeprefix(f"{place}/")

    def services(self) -> list[str]:
        """Give what systemd was asked for."""
        return (self.stubs / "systemctl.log").read_text().replace(" llm-orchestrator.service", "").splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Give a machine, where this one lets its folders be others for a process."""
    probe = ["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"]
    if (
        os.geteuid()
        or shutil.which("unshare") is None
        or subprocess.run(probe, check=False, capture_output=True).returncode
    ):
        pytest.skip("only root may give a process other folders")
    machine = Machine(tmp_path)
    imports = f"runuser --user nobody -- {sys.executable} -c 'import airflow_llm_provider'"
    if "reached" not in machine.do(f"{imports} && echo reached || true"):
        pytest.skip("the user of the service cannot get to this Python, or to this checkout")
    yield machine
    shutil.rmtree(tmp_path / "etc")


def write(path: Path, text: str) -> Path:
    """Write a file of settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_first_installation_that_fails_is_repeated(machine: Machine, tmp_path: Path) -> None:
    assert "nothing was changed" in machine.install("--package /nowhere", fails=True)
    assert machine.releases() == []
    wrong = write(tmp_path / "wrong.yaml", "hom: /x\n")
    assert "nothing was changed" in machine.install(f"--config {wrong}", fails=True)
    assert not machine.path("/etc/llm-orchestrator/config.yaml").exists()
    (machine.stubs / "fails").touch()
    for _ in range(2):
        assert "it is not installed; mend what is said above" in machine.install(fails=True)
        assert machine.releases() == []
        assert not machine.path("/opt/llm-orchestrator").is_symlink()
    (machine.stubs / "fails").unlink()
    assert "installed: a version" in machine.install()
    assert len(machine.releases()) == 1
    assert machine.services() == ["daemon-reload", "enable --now"]


VARIABLES = r"""
# A comment, and FOO=bar in it
; another
DATABASE_URL=sqlite:////srv/data/m&e$HOME.db?a=1&b=2
QUOTED="a \"b\" \$c \d"
SINGLE='a "b" $c'
  SPACED = a b #c
CONTINUED=a\
b
"""


def test_variables_are_read_as_systemd_reads_them(machine: Machine, tmp_path: Path) -> None:
    environment = write(tmp_path / "environment", VARIABLES)
    config = write(tmp_path / "config.yaml", 'database: {url: "${DATABASE_URL}"}\nhome: /srv/${SINGLE}\n')
    said = machine.install(f"--environment {environment} --config {config}")
    assert "migrates sqlite:////srv/data/m&e$HOME.db?a=1&b=2" in said
    assert machine.path("/srv/data").is_dir()
    unit = machine.path("/etc/systemd/system/llm-orchestrator.service").read_text()
    assert 'ReadWritePaths="/srv/a \\"b\\" $c" "/srv/a \\"b\\" $c/dags" /srv/data\n' in unit
    assert machine.path("/etc/llm-orchestrator/environment").stat().st_mode & 0o777 == 0o600
    script = (REPOSITORY / "systemd" / "install.sh").read_text()
    become = script.partition("<<'PYTHON'\n")[2].partition("\nPYTHON\n")[0]
    command = [sys.executable, "-c", become, str(environment), "env", "--null"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}).stdout
    held = dict(line.split("=", maxsplit=1) for line in said.rstrip("\0").split("\0"))
    assert {name: held.get(name) for name in ("FOO", "QUOTED", "SINGLE", "SPACED", "CONTINUED")} == {
        "FOO": None,
        "QUOTED": 'a "b" $c \\d',
        "SINGLE": 'a "b" $c',
        "SPACED": "a b #c",
        "CONTINUED": "ab",
    }


def test_a_home_that_no_file_names(machine: Machine, tmp_path: Path) -> None:
    config = write(tmp_path / "config.yaml", "environment: test\n")
    machine.install(f"--config {config}")
    unit = machine.path("/etc/systemd/system/llm-orchestrator.service").read_text()
    assert "\nWorkingDirectory=/var/lib/llm-orchestrator/airflow\n" in unit
    assert "AIRFLOW_HOME=/var/lib/llm-orchestrator/airflow\n" in unit
    assert machine.path("/var/lib/llm-orchestrator/airflow/airflow.db").exists()


ELSEWHERE = """
home: /srv/home
workflows: {folder: /srv/dags}
database: {url: "sqlite:////srv/data/meta.db"}
"""


def test_an_upgrade_is_taken_back_wherever_its_files_are(machine: Machine, tmp_path: Path) -> None:
    config = write(tmp_path / "config.yaml", ELSEWHERE)
    machine.install(f"--config {config}")
    write(machine.path("/srv/dags/w.yaml"), "name: w")
    database = machine.path("/srv/data/meta.db")
    before = database.read_bytes()
    machine.install()
    assert len(machine.releases()) == 3  # two versions, and what is told of the one before
    assert database.read_bytes() != before
    machine.path("/srv/dags/w.yaml").write_text("name: changed")

    (machine.stubs / "fails").touch()
    assert "nothing was taken back" in machine.install("--rollback", fails=True)
    assert machine.path("/srv/dags/w.yaml").read_text() == "name: changed"
    assert database.read_bytes() != before
    (machine.stubs / "fails").unlink()

    assert "back to a version; what the newer version knew is in /srv/home." in machine.install("--rollback")
    assert machine.path("/srv/dags/w.yaml").read_text() == "name: w"
    assert rows(machine) == 1
    assert machine.services()[-3:] == ["stop", "daemon-reload", "start"]
    assert "there was no upgrade to take back" in machine.install("--rollback", fails=True)


def rows(machine: Machine) -> int:
    """Count how often the database was brought up to date."""
    with contextlib.closing(sqlite3.connect(machine.path("/srv/data/meta.db"))) as database:
        return int(database.execute("SELECT count(*) FROM migrated").fetchone()[0])


def test_an_upgrade_that_fails_says_what_to_do(machine: Machine, tmp_path: Path) -> None:
    config = write(tmp_path / "config.yaml", ELSEWHERE)
    machine.install(f"--config {config}")
    first = os.readlink(machine.path("/opt/llm-orchestrator"))

    # No backup, no upgrade: what was stopped runs on.
    database = machine.path("/srv/data/meta.db")
    database.rename(database.with_name("away"))
    assert "nothing was changed; the version before runs on" in machine.install(fails=True)
    assert machine.services()[-2:] == ["stop", "start"]
    database.with_name("away").rename(database)

    (machine.stubs / "fails").touch()
    for _ in range(2):
        assert "or go back: install.sh --rollback" in machine.install(fails=True)
        assert os.readlink(machine.path("/opt/llm-orchestrator")) == first
    assert machine.releases() == [Path(first).name, "before", "unfinished"]
    assert len(os.listdir(machine.path("/var/backups/llm-orchestrator"))) == 1
    (machine.stubs / "fails").unlink()
    machine.install("--rollback")
    assert machine.releases() == [Path(first).name]
    assert rows(machine) == 1
