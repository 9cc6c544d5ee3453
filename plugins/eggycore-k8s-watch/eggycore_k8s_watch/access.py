"""Where the API server is and how this process proves who it is: as a pod, or by a kubeconfig."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eggycore.config.facts import in_kubernetes
from eggycore_k8s_watch.credentials import CheckedFile, Material, client_context
from eggycore_k8s_watch.errors import CredentialUnusable, NoCluster

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["SERVICE_ACCOUNT", "Access", "find_access", "in_cluster"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token, the authority of the API server, and the pod's namespace."""

_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


@dataclass(kw_only=True)
class Access:
    """One API server, and this process's credentials there. Files are read again as they rotate. Shows no secret.

    Args:
        server: Its URL, without a slash at the end.
        namespace: Where the process works unless told otherwise.
        source: Where all this comes from: "the pod's ServiceAccount", "kubeconfig /home/me/.kube/config, context shop".
        ca: Who signs the server's certificate; the system's authorities when None.
        certificate: This client's certificate.
        key: Its private key; None when it is in the file of the certificate.
        token: A bearer token that does not change.
        token_file: A file with a bearer token that rotates.
        server_name: The name in the server's certificate when it is not that of the URL.
        verify: Whether the server's certificate is checked.
        clock: Seconds on a clock that never goes back.
    """

    server: str
    namespace: str
    source: str
    ca: Material | None = field(default=None, repr=False)
    certificate: Material | None = field(default=None, repr=False)
    key: Material | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    server_name: str | None = None
    verify: bool = True
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        files = (one for one in (self.ca, self.certificate, self.key) if isinstance(one, Path))
        self._tls_files = tuple(CheckedFile(one, clock=self.clock) for one in files)
        self._token = CheckedFile(self.token_file, clock=self.clock) if self.token_file is not None else None
        self._context: SSLContext | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what is allowed here and dangerous."""
        said = []
        if self.server.startswith("https:") and not self.verify:
            said.append("the certificate of the Kubernetes API server is not checked (insecure-skip-tls-verify)")
        if self.server.startswith("http:") and self._has_secret and not self.server.startswith(_LOOPBACK):
            said.append("the connection to the Kubernetes API server is not encrypted, and a token travels over it")
        return tuple(said)

    @property
    def credentials(self) -> str:
        """What the process proves itself with, in words."""
        if self.token_file is not None:
            return f"the token in {self.token_file}"
        if self.token is not None:
            return f"the token of {self.source}"
        return f"the client certificate of {self.source}" if self.certificate is not None else "no credentials at all"

    def bearer(self, *, again: bool = False) -> str | None:
        """The token to send now; None when there is none.

        Args:
            again: Look at the file now, not only when 10 s have passed: after a 401.

        Raises:
            CredentialUnusable: The file has never been readable.
        """
        if self._token is None:
            return self.token
        try:
            content = self._token.content(again=again)
        except OSError as error:
            raise CredentialUnusable(
                "bearer token", str(self.token_file), (error.strerror or type(error).__name__).lower()
            ) from error
        words = content.decode("ascii", "replace").split()  # a header takes no line end, and files close with one
        return words[0] if words else None

    def tls(self, *, again: bool = False) -> SSLContext | None:
        """How connections are encrypted; None for a plain URL. The same object until a file changes.

        Args:
            again: Look at the files now, not only when 10 s have passed: after a failed handshake.

        Raises:
            CredentialUnusable: A file cannot be used, and there has never been a usable one.
        """
        if self.server.startswith("http:"):
            return None
        changed = [one.changed(again=again) for one in self._tls_files]
        if self._context is None or any(changed):
            self._context = self._made_context(self._context)
        return self._context

    def _made_context(self, last: SSLContext | None) -> SSLContext:
        try:
            return client_context(ca=self.ca, certificate=self.certificate, key=self.key, verify=self.verify)
        except CredentialUnusable:
            if last is None:
                raise
            return last  # certificate and key are swapped one after the other; the next look sees both

    @property
    def _has_secret(self) -> bool:
        return self.token is not None or self.token_file is not None


def find_access(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
    account: Path = SERVICE_ACCOUNT,
    home: Path | None = None,
) -> Access:
    """The API server of this process: the kubeconfig that is named, else the pod's own, else kubectl's kubeconfig.

    Args:
        kubeconfig: A kubeconfig that wins over everything else.
        context: Which of its contexts; its current one when None. In a pod, a context asks for a kubeconfig.
        environ: The process environment: KUBERNETES_SERVICE_HOST and _PORT, KUBECONFIG.
        account: Where the ServiceAccount is mounted.
        home: The home folder, of which .kube/config is looked at.

    Raises:
        NoCluster: There is neither.
        KubeconfigUnusable: A kubeconfig says something that cannot be used.
        CredentialUnusable: A file that the access needs cannot be read.
    """
    from eggycore_k8s_watch.kubeconfig import read_kubeconfig

    if kubeconfig is not None:
        return read_kubeconfig([kubeconfig], context)
    if in_kubernetes(environ) and context is None:
        return in_cluster(environ, account)
    named = [Path(one) for one in environ.get("KUBECONFIG", "").split(os.pathsep) if one]
    files = named or [(home or Path.home()) / ".kube" / "config"]
    there = [file for file in files if file.exists()]
    if not there:
        raise NoCluster(tuple(map(str, files)))
    return read_kubeconfig(there, context)


def in_cluster(environ: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> Access:
    """The API server of the cluster in which this pod runs, as its ServiceAccount.

    Raises:
        CredentialUnusable: The ServiceAccount's token is not mounted.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT") or "443"
    token, ca = account / "token", account / "ca.crt"
    if not token.is_file():
        raise CredentialUnusable(
            "token of the pod's ServiceAccount",
            str(token),
            "no such file",
            "Let the pod have it: automountServiceAccountToken: true in the pod's spec.",
        )
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=_namespace(account / "namespace"),
        source="the pod's ServiceAccount",
        ca=ca if ca.is_file() else None,
        token_file=token,
    )


def _namespace(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"
