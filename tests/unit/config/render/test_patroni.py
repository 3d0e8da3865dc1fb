"""Patroni's files, as Patroni itself judges them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source, render
from airflow_llm_provider.errors import ConfigurationError
from tests.conftest import free_port


def configuration(**cluster: object) -> Configuration:
    return Configuration.model_validate({"topology": {"postgres": cluster}})


def test_patroni_finds_nothing_wrong(tmp_path: Path) -> None:
    patroni = shutil.which("patroni")
    if patroni is None:
        pytest.skip("patroni is not installed")
    # It tries to reach etcd, and takes no address of the loopback's usual ones.
    with socket.create_server(("127.0.0.1", 0)) as etcd:
        made = configuration(
            nodes={"postgres1": f"127.0.0.2:{free_port()}:{free_port()}"},
            etcd=[f"127.0.0.1:{etcd.getsockname()[1]}"],
            data_dir=str(tmp_path / "data"),
        )
        [(name, text)] = render("patroni", Source(made)).items()
        (tmp_path / name).write_text(text)
        command = [patroni, "--validate-config", str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.shows(
    "topology.postgres.clients",
    "topology.postgres.api_port",
    "topology.postgres.loop_wait",
    "topology.postgres.database",
)
def test_the_file_of_a_machine() -> None:
    nodes = {"postgres1": "10.0.2.10", "postgres2": "10.0.2.11"}
    made = configuration(
        nodes=nodes,
        etcd=["10.0.3.10:2379"],
        clients=["10.0.1.0/24"],
        database="airflow",
        api_port=8009,
        ttl=20,
        loop_wait=5,
    )
    files = {name: yaml.safe_load(text) for name, text in render("patroni", Source(made)).items()}
    assert {*files} == {"postgres1.yaml", "postgres2.yaml"}
    file = files["postgres2.yaml"]
    assert file["restapi"]["connect_address"] == "10.0.2.11:8009"
    settings = file["bootstrap"]["dcs"]
    assert (settings["ttl"], settings["loop_wait"], settings["retry_timeout"]) == (20, 5, 7)
    assert file["postgresql"]["pg_hba"] == [
        "local all all peer",
        "host replication replicator 10.0.2.0/24 scram-sha-256",
        "host all all 10.0.2.0/24 scram-sha-256",
        "host airflow orchestrator 10.0.1.0/24 scram-sha-256",
    ]
    # What initdb itself lets in stays in the file when the bootstrap's own lines are added.
    assert {"auth-host": "scram-sha-256"} in file["bootstrap"]["initdb"]
    assert "trust" not in yaml.safe_dump(file)


def test_a_leader_that_is_given_up_too_soon() -> None:
    with pytest.raises(ValidationError, match="'ttl' is 15, too short for 'loop_wait', 10; write at least 16"):
        configuration(ttl=15, loop_wait=10)


def test_no_etcd() -> None:
    with pytest.raises(ConfigurationError, match=r"'topology\.postgres\.etcd' is empty"):
        render("patroni", Source(configuration(nodes={"postgres1": "10.0.2.10"})))
