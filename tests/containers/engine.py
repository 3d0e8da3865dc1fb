"""A Docker Engine for the tests, and the images that they need.

The engine of the machine is taken when one answers; else one is started in a folder of its own, which root can do wherever the
package is installed. Base images are fetched when they can be. A machine that cannot makes a base of its own, with debootstrap, and
images that behave as those of PostgreSQL, Redis and HAProxy do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_llm_provider.cli.airflow_api import AirflowAPIError
from tests.conftest import REPOSITORY

HERE = Path(__file__).parent

IMAGE = "llm-orchestrator:tests"
BASE = "debian:bookworm-slim"
_NEIGHBOURS = {
    "POSTGRES_IMAGE": ("postgres:15", "postgres"),
    "REDIS_IMAGE": ("redis:7", "redis"),
    "HAPROXY_IMAGE": ("haproxy:2.8", "haproxy"),
}
"""Variable of the compose files to the image, and the target of ``stand-ins.Dockerfile`` that stands for it."""

_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def docker(*arguments: str, check: bool = True) -> str:
    """Run ``docker``, and give what it says."""
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, (
        f"docker {' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    )
    return done.stdout.strip()


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[None]:
    """Have an engine that answers, for as long as the context lasts.

    Args:
        folder: Where an engine of our own keeps what it has.
    """
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    if docker("version", "--format", "{{.Server.Version}}", check=False):
        yield
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("no Docker Engine answers, and none can be started: it takes dockerd, and root")
    command = ("dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/run", "--pidfile", f"{folder}/pid")
    address = f"unix://{folder}/socket"
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen((*command, "--host", address), stdout=log, stderr=log) as one,
    ):
        os.environ["DOCKER_HOST"] = address
        try:
            deadline = time.monotonic() + 60
            while not docker("version", "--format", "{{.Server.Version}}", check=False):
                if one.poll() is not None or time.monotonic() > deadline:
                    pytest.skip(f"no Docker Engine can run here: {(folder / 'log').read_text()[-500:]}")
                time.sleep(0.5)
            yield
        finally:
            del os.environ["DOCKER_HOST"]
            one.terminate()


def images() -> dict[str, str]:
    """Make sure that all images are there; give the variables that name them in the compose files."""
    named = {"ORCHESTRATOR_IMAGE": IMAGE, "BASE_IMAGE": _fetched(BASE) or _made_base()}
    base = ("--build-arg", f"BASE_IMAGE={named['BASE_IMAGE']}")
    docker("build", *base, "--file", str(REPOSITORY / "docker" / "Dockerfile"), "--tag", IMAGE, str(REPOSITORY))
    for variable, (image, target) in _NEIGHBOURS.items():
        named[variable] = _fetched(image) or f"{target}:stand-in"
        if named[variable] != image:
            recipe = ("--file", str(HERE / "stand-ins.Dockerfile"), "--target", target)
            docker("build", *base, *recipe, "--tag", named[variable], str(HERE))
    return named


def _fetched(image: str) -> str:
    """Give the image where it is here or can be fetched, else an empty text."""
    if docker("image", "inspect", "--format", "{{.Id}}", image, check=False):
        return image
    docker("pull", "--quiet", image, check=False)
    return image if docker("image", "inspect", "--format", "{{.Id}}", image, check=False) else ""


def _made_base() -> str:
    """Give a base that is made of Debian's packages, and trusts whom this machine trusts."""
    name = "llm-orchestrator-base:stand-in"
    if docker("image", "inspect", "--format", "{{.Id}}", name, check=False):
        return name
    if shutil.which("debootstrap") is None:
        pytest.skip(f"{BASE} cannot be fetched, and debootstrap, which makes one like it, is not installed")
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / "llm-orchestrator-base"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run(("debootstrap", "--variant=minbase", "bookworm", str(folder)), check=True, capture_output=True)
        if _CERTIFICATES.is_dir():
            shutil.copytree(_CERTIFICATES, folder / _CERTIFICATES.relative_to("/"), dirs_exist_ok=True)
        trust = f"ENV SSL_CERT_FILE={_BUNDLE} PIP_CERT={_BUNDLE}"
        command = ("docker", "import", "--change", trust, "-", name)
        with subprocess.Popen(("tar", "-C", str(folder), "-c", "."), stdout=subprocess.PIPE) as archive:
            subprocess.run(command, stdin=archive.stdout, check=True, capture_output=True)
        assert archive.returncode == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return name


def _attempt(condition: Callable[[], Any]) -> Any:
    try:
        return condition()
    except (httpx.HTTPError, AirflowAPIError):
        return None


class Stack:
    """What one compose file starts.

    Args:
        folder: Of the compose file, below ``docker``.
        variables: What its ``.env`` says.
        files: Further compose files.
    """

    def __init__(self, folder: str, variables: Mapping[str, str], *files: Path) -> None:
        self._project = f"tests-{folder}"
        program = ("docker-compose",) if shutil.which("docker-compose") else ("docker", "compose")
        named = (REPOSITORY / "docker" / folder / "docker-compose.yaml", *files)
        self._command = (
            *program,
            "--project-name",
            self._project,
            *(part for file in named for part in ("-f", str(file))),
        )
        self._variables = variables

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run ``docker-compose``, and give what it says."""
        done = subprocess.run(
            (*self._command, *arguments),
            env={**os.environ, **self._variables},
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{done.stdout[-6000:]}{done.stderr[-3000:]}"
        assert not check or done.returncode == 0, f"docker-compose {' '.join(arguments)}: {said}"
        return done.stdout

    def containers(self, service: str = "") -> list[str]:
        """Give the running containers of a service; of all when it is empty."""
        filters = [f"label=com.docker.compose.project={self._project}"]
        filters += [f"label=com.docker.compose.service={service}"] if service else []
        return docker("ps", "--quiet", *(part for one in filters for part in ("--filter", one))).split()

    def unhealthy(self) -> list[str]:
        """Give the containers that are not, or not yet, healthy; those without a health check count as healthy."""
        form = "{{.Name}} {{.State.Status}}{{with .State.Health}} {{.Status}}{{end}}"
        states = docker("inspect", "--format", form, *self.containers()).splitlines()
        return [state for state in states if not state.endswith((" running", " healthy"))]

    def crash(self, container: str) -> None:
        """End a container as a crash does: all its processes go at once, and its restart policy starts it again."""
        began, pid = docker("inspect", "--format", "{{.State.StartedAt}} {{.State.Pid}}", container).split()
        os.kill(int(pid), 9)
        again = ("inspect", "--format", "{{if .State.Running}}{{.State.StartedAt}}{{end}}", container)
        self.until(lambda: docker(*again) not in ("", began), "the container is started again")

    def until_healthy(self) -> None:
        """Wait until all containers are healthy."""
        self.until(lambda: not self.unhealthy(), "all containers are healthy")

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 300) -> None:
        """Wait until something is there; an error of HTTP means that it is not yet."""
        deadline = time.monotonic() + timeout
        while not _attempt(condition):
            assert time.monotonic() < deadline, f"{what}: not within {timeout} s; {self.unhealthy()}\n{self.logs()}"
            time.sleep(1)

    def logs(self, service: str = "") -> str:
        """Give the end of what containers have said."""
        return self.compose("logs", "--no-color", "--tail", "40", *([service] if service else []), check=False)

    def down(self) -> None:
        """Remove the containers with what they have kept."""
        self.compose("down", "--volumes", "--timeout", "20", check=False)
