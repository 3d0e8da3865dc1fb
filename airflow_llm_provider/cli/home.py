"""The folder of an Airflow on this machine: its secrets, and of the demo's also its ports and its environment.

It holds everything, so deleting it leaves nothing behind::

    secrets.json, passwords.json       made once, readable by the owner only
    airflow.env                        the environment, to be sourced before using Airflow's command line; private too
    place.json                         ports and dags folder that were chosen last
    plan.json, state.json              what the supervisor runs, and how it is doing; of other servers, in supervised/MODE
    airflow.db, bundles/, logs/        Airflow's; logs/<component>.log, and logs/tasks/ for what tasks said

The demo's environment leads every OpenAI and Anthropic client to a simulator on this machine: no key is needed, nothing is
spent.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import shlex
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_llm_provider.cli.components import LOOPBACK, component_environment
from airflow_llm_provider.cli.files import write_atomically, write_once
from airflow_llm_provider.config.configuration import Configuration
from airflow_llm_provider.config.security import new_fernet_key
from airflow_llm_provider.config.server import Ports, Server, Workflows
from airflow_llm_provider.errors import ConfigurationError

__all__ = ["USER", "Home", "Place", "derived_key"]

USER = "admin"
_PREFERRED_PORT = 8080
_PRIVATE = 0o600


@dataclass(frozen=True)
class Place:
    """Where the stand listens, and what it serves."""

    port: int
    execution_port: int
    simulator_port: int
    dags_folder: str

    @property
    def url(self) -> str:
        """Address of Airflow's pages and API."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def execution_url(self) -> str:
        """Address that tasks report to."""
        return f"http://{LOOPBACK}:{self.execution_port}/execution/"

    @property
    def simulator_url(self) -> str:
        """Address of the simulator."""
        return f"http://{LOOPBACK}:{self.simulator_port}"


@dataclass(frozen=True)
class Home:
    """The folder at ``path``."""

    path: Path

    @property
    def passwords_file(self) -> Path:
        """JSON file of user name to password."""
        return self.path / "passwords.json"

    @property
    def variables_file(self) -> Path:
        """Shell file that sets the environment."""
        return self.path / "airflow.env"

    @property
    def database(self) -> Path:
        """Airflow's SQLite file."""
        return self.path / "airflow.db"

    def log(self, component: str) -> Path:
        """Give a component's log file."""
        return self.path / "logs" / f"{component}.log"

    @property
    def login(self) -> str:
        """Who can log in, and where the password is, as a line to show."""
        return f"the user is {USER}; the password is in {self.passwords_file}"

    def password(self) -> str:
        """Read the user's password."""
        return str(json.loads(self.passwords_file.read_text(encoding="utf-8"))[USER])

    def place(self) -> Place:
        """Read where the stand listens, or listened last.

        Raises:
            ConfigurationError: No stand was ever started in this folder.
        """
        try:
            return Place(**json.loads((self.path / "place.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError) as error:
            # One that an earlier version has written holds fewer ports.
            raise ConfigurationError(f"no Airflow was started in {self.path} yet: start it first") from error

    def choose_place(self, dags_folder: Path, port: int | None) -> Place:
        """Choose free ports, those of last time where possible, and remember the choice.

        Args:
            dags_folder: Where the workflows are.
            port: The API server's port; None takes the last one, else 8080, else any that is free.

        Raises:
            ConfigurationError: The port that was asked for is in use.
        """
        wanted = [port or _PREFERRED_PORT, 0, 0]
        with contextlib.suppress(ConfigurationError):
            last = self.place()
            wanted = [port or last.port, last.execution_port, last.simulator_port]
        with contextlib.ExitStack() as held:
            chosen = [_free_port(held, number) for number in wanted]
        if port is not None and chosen[0] != port:
            raise ConfigurationError(
                f"port {port} is in use by another program: name another, or none to take a free one"
            )
        place = Place(chosen[0], chosen[1], chosen[2], str(dags_folder.resolve()))
        write_atomically(self.path / "place.json", json.dumps(asdict(place)))
        return place

    def make(self) -> None:
        """Make the folder, which only its owner can look into.

        Raises:
            ConfigurationError: It cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"the home {self.path} cannot be made ({error.strerror}): write another 'home', or let it be made"
            ) from error

    def make_secrets(self) -> None:
        """Make the password and the keys that are not there yet."""
        self._make_password()
        # The others take any text.
        made = {"fernet_key": new_fernet_key()} | {
            name: secrets.token_urlsafe(48) for name in ("jwt_secret", "session_key")
        }
        write_once(self._secrets_file, json.dumps(made), mode=_PRIVATE)

    def prepare(self, configuration: Configuration) -> Configuration:
        """Make the keys and the password that a server needs in this folder, and give the configuration with all keys.

        Args:
            configuration: What ``orchestrator.yaml`` says.

        Raises:
            ConfigurationError: The folder cannot be written.
        """
        self.make()
        signs, password = (
            getattr(configuration.security.authentication, name) for name in ("jwt_secret", "admin_password")
        )
        if password is not None:
            self._write_password(password.get_secret_value())
        elif configuration.server.mode in ("standalone", "api"):
            self._make_password()
        if signs is None or configuration.server.mode == "standalone":
            self.make_secrets()
        return self.with_keys(configuration)

    def with_keys(self, configuration: Configuration) -> Configuration:
        """Give the configuration with the keys that it does not name; nothing is made or written.

        On one machine they are those of this folder. Processes of several machines need the same, so that those which the file
        does not name are derived from the one that it must.

        Args:
            configuration: What ``orchestrator.yaml`` says.

        Raises:
            ConfigurationError: There are none yet, or they cannot be read.
        """
        signs = configuration.security.authentication.jwt_secret
        if signs is None or configuration.server.mode == "standalone":
            return configuration.with_keys(self._kept_keys().__getitem__)
        return configuration.with_keys(lambda name: derived_key(signs.get_secret_value(), name))

    def configuration(self) -> Configuration:
        """Give what an ``orchestrator.yaml`` of the demo would say."""
        place = self.place()
        ports = Ports(http=place.port, execution=place.execution_port)
        return self.with_keys(
            Configuration(
                home=self.path.resolve(),
                workflows=Workflows(folder=Path(place.dags_folder)),
                server=Server(host=LOOPBACK, port=ports),
            )
        )

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Make the environment of the demo's components; it holds the secrets.

        Args:
            extra: Further variables, which win.
        """
        # Connections of the caller's own Airflow would lead to real models.
        ours = component_environment(self.configuration(), None)
        kept = {name: value for name, value in ours.items() if not name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_"))}
        return {**kept, **self._simulated(), **extra}

    def write_variables(self, extra: Mapping[str, str]) -> None:
        """Write the shell file that sets what :meth:`environment` adds to the caller's own."""
        added = {name: value for name, value in self.environment(extra).items() if os.environ.get(name) != value}
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in sorted(added.items()))
        write_atomically(self.variables_file, "".join(lines), mode=_PRIVATE)

    def _simulated(self) -> dict[str, str]:
        place = self.place()
        return {
            "OPENAI_BASE_URL": f"{place.simulator_url}/v1",
            "OPENAI_API_KEY": "simulator",
            "ANTHROPIC_BASE_URL": place.simulator_url,
            "ANTHROPIC_API_KEY": "simulator",
        }

    def _make_password(self) -> None:
        # Airflow would make a password too, but prints it to the API server's log.
        write_once(self.passwords_file, _passwords(secrets.token_urlsafe(12)), mode=_PRIVATE)

    def _write_password(self, password: str) -> None:
        text, file = _passwords(password), self.passwords_file
        with contextlib.suppress(OSError):
            if file.read_text(encoding="utf-8") == text:
                return
        write_atomically(file, text, mode=_PRIVATE)

    def _kept_keys(self) -> dict[str, str]:
        try:
            kept: dict[str, str] = json.loads(self._secrets_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigurationError(f"there are no keys in {self.path} yet; run: llm-orchestrator db init") from None
        except OSError as error:
            raise ConfigurationError(
                f"{self._secrets_file} cannot be read ({error.strerror}); run this as the user who owns the file"
            ) from error
        return kept

    @property
    def _secrets_file(self) -> Path:
        return self.path / "secrets.json"


def derived_key(secret: str, name: str) -> str:
    """Give the key of a name that follows from a secret: 32 bytes in URL-safe base64, the same wherever the secret is.

    Args:
        secret: The secret.
        name: What the key is for.
    """
    digest = hashlib.sha256(f"llm-orchestrator {name}\0{secret}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()


def _free_port(held: contextlib.ExitStack, wanted: int) -> int:
    # Held until all are chosen, so that no two are the same.
    for port in (wanted, 0):
        listener = held.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind((LOOPBACK, port))
            return int(listener.getsockname()[1])
    raise ConfigurationError(f"no port is free on {LOOPBACK}")


def _passwords(password: str) -> str:
    return json.dumps({USER: password})
