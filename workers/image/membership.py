"""What a gallery consists of, as a checksum that does not depend on the order in which its members came.

Workers put it into the versions of their results and publish it; whoever publishes references computes the
same one, and so knows what to wait for.
"""

import hashlib
import json
from dataclasses import dataclass

from schemas import Reference

_MODULUS = 2**256


def content_hash(reference: Reference) -> str | None:
    """Hash of a reference's bytes; None where neither they nor their hash is there."""
    if reference.sha256 is not None:
        return reference.sha256
    return None if reference.content is None else hashlib.sha256(reference.content).hexdigest()


def member_digest(reference: Reference) -> str:
    """Hash of all that makes a member: its id, its bytes and what is said of it, not how it came."""
    content = content_hash(reference) or reference.dataref
    metadata = sorted((reference.metadata or {}).items())
    facts = [reference.id, content, reference.subject, reference.label, metadata]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Checksum:
    """Sum of the members' digests.

    Attributes:
        total: modulo 2²⁵⁶.
        count: of the members.
    """

    total: int = 0
    count: int = 0

    def plus(self, digest: str) -> "Checksum":
        """With a further member."""
        return Checksum((self.total + int(digest, 16)) % _MODULUS, self.count + 1)

    def minus(self, digest: str) -> "Checksum":
        """Without one of the members."""
        return Checksum((self.total - int(digest, 16)) % _MODULUS, self.count - 1)

    def __str__(self) -> str:
        return hashlib.sha256(f"{self.count} {self.total:064x}".encode()).hexdigest()[:16]
