"""Certificates, tokens and kubeconfig files of a test cluster, new for every start; called by `cluster`. Never used for anything real."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tools.kubernetes.layout import Layout

_DAY = timedelta(days=1)


class Authority:
    """The cluster's certificate authority."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "setpoint-test-ca")])
        self._name = name
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)  # signs, and signs certificates and CRLs
        builder = _builder(name, name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())

    def pem(self) -> bytes:
        """Return the authority's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, common_name: str, organisation: str = "", names: Sequence[str] = (), addresses: Sequence[str] = ()
    ) -> tuple[bytes, bytes]:
        """Return (certificate, key) as PEM: of a server when it has names or addresses, else of a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
        builder = _builder(x509.Name(parts), self._name, key.public_key())
        alternatives = [*map(x509.DNSName, names), *(x509.IPAddress(ipaddress.ip_address(a)) for a in addresses)]
        usage = ExtendedKeyUsageOID.SERVER_AUTH if alternatives else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key_pem(key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(now - _DAY).not_valid_after(now + 30 * _DAY)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key, unencrypted and in the older form of RFC 5915: the API server reads its account keys in no other."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def write(layout: Layout) -> None:
    """Write all credentials of a cluster below `pki/`, and a kubeconfig for each of its users."""
    authority = Authority()
    _private(layout.file("pki", "ca.crt"), authority.pem())
    service = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    addresses = dict.fromkeys(["127.0.0.1", layout.host_address, layout.first_service])
    certificates = {"apiserver": authority.issue("kube-apiserver", names=service, addresses=list(addresses))}
    certificates["admin"] = authority.issue("admin", "system:masters")
    for name, (certificate, key) in certificates.items():
        _private(layout.file("pki", f"{name}.crt"), certificate)
        _private(layout.file("pki", f"{name}.key"), key)
    _private(layout.file("pki", "sa.key"), key_pem(ec.generate_private_key(ec.SECP256R1())))
    tokens = layout.tokens
    users = [
        f'{tokens.admin},admin,admin,"system:masters"',
        f"{tokens.controllers},system:kube-controller-manager,controllers",
        f"{tokens.scheduler},system:kube-scheduler,scheduler",
        f'{tokens.node},system:node:{layout.name},node,"system:nodes"',
        f"{tokens.proxy},system:kube-proxy,proxy",
    ]
    _private(layout.file("pki", "tokens.csv"), "\n".join([*users, ""]).encode())
    for name, token in (
        ("controllers", tokens.controllers),
        ("scheduler", tokens.scheduler),
        ("node", tokens.node),
        ("proxy", tokens.proxy),
    ):
        _private(layout.file("conf", f"{name}.conf"), kubeconfig(layout, token))
    _private(layout.kubeconfig, kubeconfig(layout, tokens.admin))


def kubeconfig(layout: Layout, token: str) -> bytes:
    """Return a kubeconfig file for the holder of a token."""
    cluster = f'{{server: "{layout.url}", certificate-authority: "{layout.state}/pki/ca.crt"}}'
    return f"""\
apiVersion: v1
kind: Config
clusters: [{{name: {layout.name}, cluster: {cluster}}}]
users: [{{name: user, user: {{token: "{token}"}}}}]
contexts: [{{name: {layout.name}, context: {{cluster: {layout.name}, user: user}}}}]
current-context: {layout.name}
""".encode()


def _private(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)
