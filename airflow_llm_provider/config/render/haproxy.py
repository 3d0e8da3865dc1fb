"""``haproxy.cfg``: before the API servers, before the servers that tasks report to, and before PostgreSQL's leader."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from ipaddress import ip_address

from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.render import Source
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["files"]

_HEAD = """\
# Made from orchestrator.yaml: llm-orchestrator config render haproxy

global
    log stdout format raw local0
    maxconn {most}

defaults
    log global
    mode http
    option httplog
    option dontlognull
    # A server that is gone is not asked again for the same request.
    option redispatch
    retries 3
    timeout connect 5s
    timeout client 60s
    # The first request to a fresh server builds its routes.
    timeout server 60s
    timeout http-request 15s
    timeout check 5s
"""

_NAMES = """
# Machines that are known by name are found again when their address changes, as that of a container does.
resolvers names
    parse-resolv-conf
    hold valid 10s
"""

_FRONT = """
# People, programs, and tasks
frontend http_front
{binds}
{redirect}    option forwardfor
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    # Where tasks report: servers of their own, which no page can stop.
    acl from_task path_beg {path}/execution/
    use_backend execution_back if from_task
    default_backend http_back
"""

_BACK = """
backend {name}
    balance {balance}
    option httpchk GET {health}
    http-check expect status 200
    default-server inter 2s fall 2 rise 1{options}
{servers}
"""

_STATS = """
# How the servers are; also for Prometheus, under /metrics
frontend stats
    bind {host}:{port}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    stats enable
    stats uri /stats
    stats refresh 30s
"""

_POSTGRES = """
# The database: whoever Patroni says leads
listen postgres
    bind {host}:{port}
    mode tcp
    option tcplog
    # Connections of a pool rest between two queries.
    timeout client 24h
    timeout server 24h
    option httpchk GET /primary
    http-check expect status 200
    default-server inter 2s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


def files(source: Source) -> dict[str, str]:
    """Give ``haproxy.cfg``.

    Raises:
        ConfigurationError: No API server is named.
    """
    configuration, topology = source.configuration, source.configuration.topology
    if not topology.api_servers:
        raise ConfigurationError("'topology.api_servers' is empty; name the machines, such as [10.0.1.10, 10.0.1.11]")
    return {"haproxy.cfg": "".join(_parts(configuration))}


def _parts(configuration: Configuration) -> Iterator[str]:
    server, balancer = configuration.server, configuration.topology.load_balancer
    yield _HEAD.format(most=balancer.max_connections)
    binds = [f"    bind {balancer.host}:{balancer.http}"]
    redirect = ""
    if balancer.certificate is not None:
        binds.append(f"    bind {balancer.host}:{balancer.https} ssl crt {balancer.certificate} alpn h2,http/1.1")
        port = "" if balancer.https == 443 else f":{balancer.https}"
        # 308, for after a 302 a POST would come as a GET. Only the port of the Host header is another one.
        place = f"https://%[req.hdr(host),field(1,:)]{port}%[pathq]"
        redirect = f"    http-request redirect code 308 location {place} unless {{ ssl_fc }}\n"
    yield _FRONT.format(binds="\n".join(binds), redirect=redirect, path=server.path)
    # The servers' own certificates are for their names; between these machines only the encryption counts.
    options = " ssl verify none" if server.tls.enabled else ""
    if not all(map(_is_number, configuration.topology.api_servers)):
        yield _NAMES
        options += " resolvers names init-addr last,libc,none"
    pages, tasks = [], []
    for number, address in enumerate(configuration.topology.api_servers, start=1):
        host, _, port = address.partition(":")
        http = int(port or server.port.http)
        execution = server.port.execution if server.port.execution and not port else http + 1
        pages.append(f"    server api{number} {host}:{http} check")
        tasks.append(f"    server api{number} {host}:{execution} check")
    yield _BACK.format(
        name="http_back",
        balance="roundrobin",
        health=f"{server.path}/api/v2/monitor/health",
        options=options,
        servers="\n".join(pages),
    )
    yield _BACK.format(
        name="execution_back",
        balance="leastconn",
        health=f"{server.path}/execution/health",
        options=options,
        servers="\n".join(tasks),
    )
    yield _STATS.format(host=balancer.stats_host, port=balancer.stats)
    cluster = configuration.topology.postgres
    if cluster.nodes:
        servers = [
            f"    server {name} {_address(host, cluster.port)} check port {_api_port(host, cluster.api_port)}"
            for name, host in cluster.nodes.items()
        ]
        yield _POSTGRES.format(host=balancer.host, port=cluster.port, servers="\n".join(servers))


def _is_number(address: str) -> bool:
    """Tell whether a machine is given by its IPv4 address, not by a name."""
    with contextlib.suppress(ValueError):
        return bool(ip_address(address.partition(":")[0]))
    return False


def _address(host: str, port: int) -> str:
    """Give the address of PostgreSQL on a machine, which may name ports of its own: ``host:port:api_port``."""
    name, _, own = host.partition(":")
    return f"{name}:{own.partition(':')[0] or port}"


def _api_port(host: str, port: int) -> str:
    return host.partition(":")[2].partition(":")[2] or str(port)
