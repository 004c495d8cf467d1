"""A real Kafka that asks who you are: TLS, SASL, an authoriser. Its keys are made when it starts."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from stream.local_kafka import LocalKafka

ADMIN: Final = "admin"
PASSWORD: Final = "pw-Zx81-of-the-admin"
LISTENERS: Final = ("TLS", "MUTUAL", "SASL", "SASLPLAIN", "ELSEWHERE")
"""TLS alone; with a certificate of the client's; SASL over TLS; SASL in the clear; TLS by a certificate for
another host."""

ANY_RULE: Final = AclBindingFilter(
    ResourceType.ANY,
    None,
    ResourcePatternType.ANY,
    None,
    None,
    AclOperation.ANY,
    AclPermissionType.ANY,
)

RESOURCES: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def openssl_missing() -> str | None:
    """Why certificates can't be made here; None where they can."""
    return None if shutil.which("openssl") else "openssl is not installed: no certificates can be made"


class Certificates:
    """Keys and certificates in PEM files: an authority, what it signed, and another authority."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._authority("ca")
        self._authority("other-ca")
        self._signed("broker", "ca", "/CN=localhost", "IP:127.0.0.1,DNS:localhost")
        self._signed("elsewhere", "ca", "/CN=elsewhere.test", "DNS:elsewhere.test")
        self._signed("client", "ca", f"/CN={ADMIN}", "")
        self._signed("stranger", "other-ca", f"/CN={ADMIN}", "")

    def path(self, name: str) -> Path:
        return self.folder / name

    def _authority(self, name: str) -> None:
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )

    def _signed(self, name: str, authority: str, subject: str, names: str) -> None:
        self._openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        extensions = self.path(f"{name}.ext")
        extensions.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", extensions.name, "-out", f"{name}.pem"),
        )
        both = self.path(f"{name}.key").read_text() + self.path(f"{name}.pem").read_text()
        self.path(f"{name}.store").write_text(both)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


class SecureKafka:
    """One broker with a listener for each way in. Its plain listener is the superuser's.

    Args:
        home: the distribution's folder.
        folder: for data, keys and logs.
    """

    def __init__(self, home: Path, folder: Path) -> None:
        self.certificates = Certificates(folder / "keys")
        self._kafka = LocalKafka(home, folder / "kafka")
        self._ports = {"PLAINTEXT": self._kafka._port, "CONTROLLER": self._kafka._controller_port}
        self._ports |= dict(zip(LISTENERS, _free_ports(len(LISTENERS)), strict=True))
        self._kafka._properties.update(self._properties())

    def address(self, listener: str) -> str:
        return f"127.0.0.1:{self._ports[listener]}"

    def start(self) -> None:
        self._kafka.start()
        self.add_user(ADMIN, PASSWORD)

    def kill(self) -> None:
        self._kafka.kill()

    def add_user(self, name: str, password: str) -> None:
        """Let a user in by SCRAM."""
        admin = self._admin()  # it has to live until the answers are there
        for kind in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            wanted = UserScramCredentialUpsertion(name, ScramCredentialInfo(kind, 4_096), password.encode())
            for answer in admin.alter_user_scram_credentials([wanted]).values():
                answer.result(30)

    def allow(self, grants: Iterable["Grant"]) -> None:
        """Add access rules, and wait until the broker goes by them: it learns of them from the controller."""
        admin = self._admin()
        wanted = [grant.binding() for grant in grants]
        for answer in admin.create_acls(wanted).values():
            answer.result(30)
        deadline = time.monotonic() + 30
        while missing := set(wanted) - set(admin.describe_acls(ANY_RULE).result(30)):
            assert time.monotonic() < deadline, missing
            time.sleep(0.05)

    @staticmethod
    def everything_for(user: str) -> list["Grant"]:
        """Rules by which a user may do anything."""
        return [Grant(user, "all", kind, "*") for kind in RESOURCES]

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address("PLAINTEXT")})

    def _properties(self) -> dict[str, str]:
        keys = self.certificates
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        advertised = ",".join(
            f"{name}://127.0.0.1:{port}" for name, port in self._ports.items() if name != "CONTROLLER"
        )
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        users = f'{plain} user_{ADMIN}="{PASSWORD}";'
        found = {
            "listeners": listeners,
            "advertised.listeners": advertised,
            "controller.quorum.voters": f"1@127.0.0.1:{self._ports['CONTROLLER']}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MUTUAL:SSL,"
            "SASL:SASL_SSL,SASLPLAIN:SASL_PLAINTEXT,ELSEWHERE:SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{ADMIN};User:CN={ADMIN}",
            "auto.create.topics.enable": "false",
            "listener.name.mutual.ssl.client.auth": "required",
        }
        for name in ("tls", "mutual", "sasl", "elsewhere"):
            store = "elsewhere.store" if name == "elsewhere" else "broker.store"
            found |= {
                f"listener.name.{name}.ssl.keystore.type": "PEM",
                f"listener.name.{name}.ssl.keystore.location": str(keys.path(store)),
                f"listener.name.{name}.ssl.truststore.type": "PEM",
                f"listener.name.{name}.ssl.truststore.location": str(keys.path("ca.pem")),
            }
        for name in ("sasl", "saslplain"):
            prefix = f"listener.name.{name}"
            found |= {
                f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                f"{prefix}.plain.sasl.jaas.config": users,
                f"{prefix}.scram-sha-256.sasl.jaas.config": scram,
                f"{prefix}.scram-sha-512.sasl.jaas.config": scram,
            }
        return found


class Grant:
    """One access rule: who may do what with which resource."""

    def __init__(self, user: str, operation: str, kind: str, name: str, *, prefixed: bool = False) -> None:
        self.facts = (user, operation, kind, name, prefixed)

    def __repr__(self) -> str:
        return f"Grant{self.facts}"

    def binding(self) -> AclBinding:
        user, operation, kind, name, prefixed = self.facts
        return AclBinding(
            RESOURCES[kind],
            name,
            ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )


def _free_ports(count: int) -> list[int]:
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()
