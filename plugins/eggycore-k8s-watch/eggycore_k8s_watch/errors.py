"""What goes wrong between this process and Kubernetes, and what a person is told about it."""

from __future__ import annotations

from dataclasses import dataclass

from eggycore.diagnostics import Diagnosis, diagnose
from eggycore.errors import EggycoreError, NotUpYet, UsageError
from eggycore_k8s_watch.objects import CONFIGMAPS, Collection
from eggycore_k8s_watch.roles import role_for, service_account_of

__all__ = [
    "ApiError",
    "ApiFailed",
    "ApiRefused",
    "ApiUnreachable",
    "BadAnswer",
    "ConfigMapMissing",
    "Conflict",
    "CredentialUnusable",
    "Forbidden",
    "Gone",
    "KubeconfigUnusable",
    "NoCluster",
    "NotFound",
    "TooManyRequests",
    "Unauthorized",
]

SHOWN = 300
"""Characters of a server's message that are shown."""


class ApiError(EggycoreError):
    """A request to the API server that did not end as it should; every subclass is a dataclass."""


@dataclass(eq=False)
class ApiUnreachable(ApiError, NotUpYet):
    """The API server did not answer, or the connection was lost.

    Args:
        server: Its URL.
        reason: Why: "refused the connection", "did not answer within 10 s".
        action: What to do about it, when the reason tells.
    """

    server: str
    reason: str
    action: str = ""


@dataclass(eq=False)
class BadAnswer(ApiError, NotUpYet):
    """The answer is not one of an API server: no JSON, too long, something else in between.

    Args:
        server: The URL that was asked.
        reason: What is wrong with the answer.
    """

    server: str
    reason: str


@dataclass(eq=False)
class ApiRefused(ApiError):
    """The API server answered with an error.

    Args:
        server: Its URL.
        status: The HTTP status, or the code of a Status object in a watch.
        reason: The machine's word for it: "Forbidden", "AlreadyExists", "Expired"; "" when it gives none.
        message: The server's message.
        verb: What was asked for: "list", "update".
        collection: Of what.
        namespace: Where.
        name: Of which object; "" for all.
        retry_after: Seconds to wait before another request, when the server says so.
    """

    server: str
    status: int
    reason: str = ""
    message: str = ""
    verb: str = ""
    collection: Collection = CONFIGMAPS
    namespace: str = ""
    name: str = ""
    retry_after: float | None = None

    @property
    def what(self) -> str:
        """What it was about: "ConfigMap forms in namespace shop"."""
        what = f"{self.collection.kind} {self.name}" if self.name else f"{self.collection.kind}s"
        return f"{what} in namespace {self.namespace}" if self.namespace else what


@dataclass(eq=False)
class Unauthorized(ApiRefused, NotUpYet):
    """401: the API server does not take this process's credentials.

    Args:
        credentials: Where they come from.
    """

    credentials: str = ""


@dataclass(eq=False)
class Forbidden(ApiRefused, NotUpYet):
    """403: no Role allows it.

    Args:
        user: Who asked, as the API server knows it: "system:serviceaccount:shop:forms"; "" when unknown.
    """

    user: str = ""


@dataclass(eq=False)
class NotFound(ApiRefused, NotUpYet):
    """404: there is no such object, or no such namespace."""


@dataclass(eq=False)
class Conflict(ApiRefused):
    """409: the object has changed since it was read (reason "Conflict"), or exists already ("AlreadyExists")."""


@dataclass(eq=False)
class Gone(ApiRefused):
    """410: the history since the given resourceVersion is no longer kept; the collection has to be listed again."""


@dataclass(eq=False)
class TooManyRequests(ApiRefused, NotUpYet):
    """429: the API server wants to be asked less often."""


@dataclass(eq=False)
class ApiFailed(ApiRefused, NotUpYet):
    """5xx: the API server, or what it stores objects in, is in trouble."""


@dataclass(eq=False)
class ConfigMapMissing(NotUpYet):
    """The ConfigMap that K8S_CONFIGMAP_NAME names does not exist."""

    name: str
    namespace: str


@dataclass(eq=False)
class NoCluster(UsageError):
    """Nothing says where the API server is: no pod, no kubeconfig.

    Args:
        looked: The files that were looked for.
    """

    looked: tuple[str, ...]


@dataclass(eq=False)
class KubeconfigUnusable(UsageError):
    """A kubeconfig, or what it says about its context, cannot be used.

    Args:
        file: The file, or the files separated by colons.
        reason: What is wrong: "it has no context 'shop'".
        action: What to do.
    """

    file: str
    reason: str
    action: str


@dataclass(eq=False)
class CredentialUnusable(UsageError):
    """A file with a token, a certificate or a key cannot be used. Holds nothing of what is in it.

    Args:
        purpose: What it is: "token of the ServiceAccount", "client certificate".
        place: The file, or the key of the kubeconfig that holds it.
        reason: What is wrong with it.
        action: What to do.
    """

    purpose: str
    place: str
    reason: str
    action: str = ""


@diagnose.register
def _(error: ApiUnreachable) -> Diagnosis:
    return Diagnosis(
        description=f"The Kubernetes API server {error.server} cannot be reached.",
        cause=f"It {error.reason}." if error.reason else "",
        action=error.action or "Look whether it runs and whether a NetworkPolicy lets this process reach it.",
    )


@diagnose.register
def _(error: BadAnswer) -> Diagnosis:
    return Diagnosis(
        description=f"What answers at {error.server} does not answer as a Kubernetes API server.",
        cause=f"The answer {error.reason}.",
        action="Look whether a proxy or another server stands in between.",
    )


@diagnose.register
def _(error: ApiRefused) -> Diagnosis:
    named = f" ({error.reason})" if error.reason else ""
    return Diagnosis(
        description=f"The Kubernetes API server answered {error.status}{named} to {_asked(error)}.",
        cause=_said(error),
        action="Look at the message, and at the server's log.",
    )


@diagnose.register
def _(error: Unauthorized) -> Diagnosis:
    return Diagnosis(
        description="The Kubernetes API server does not accept this process's credentials.",
        cause=f"It answered 401 to {error.credentials or 'what was sent'}.",
        action="Look whether the token or certificate has expired or belongs to another cluster.",
    )


@diagnose.register
def _(error: Forbidden) -> Diagnosis:
    account = service_account_of(error.user)
    who = f"The ServiceAccount {account[1]} of namespace {account[0]}" if account else error.user or "This process"
    role = role_for(error.collection, namespace=error.namespace, name=error.name, user=error.user)
    indented = role.replace("\n", "\n    ")
    return Diagnosis(
        description=f"{who} may not {_asked(error)}.",
        cause=_said(error),
        action=f"Allow it, with kubectl apply -f FILE and this in the file:\n    {indented}",
    )


@diagnose.register
def _(error: NotFound) -> Diagnosis:
    return Diagnosis(
        description=f"There is no {error.what}.",
        cause=_said(error),
        action="Create it, or correct the name and the namespace.",
    )


@diagnose.register
def _(error: Conflict) -> Diagnosis:
    if error.reason == "AlreadyExists":
        description = f"There is a {error.what} already."
    else:
        description = f"The {error.what} has changed since it was read."
    return Diagnosis(description=description, cause=_said(error), action="Read it again, and decide anew.")


@diagnose.register
def _(error: Gone) -> Diagnosis:
    return Diagnosis(
        description=f"The Kubernetes API server no longer has the history of {error.what} that was asked for.",
        cause=_said(error),
        action="List the collection again; a watch does so by itself.",
    )


@diagnose.register
def _(error: TooManyRequests) -> Diagnosis:
    wait = f" It asks to wait {error.retry_after:g} s." if error.retry_after is not None else ""
    return Diagnosis(
        description="The Kubernetes API server answers 429: it has too many requests.",
        cause=f"{_said(error)}{wait}".strip(),
        action="Wait; look at its priority levels and flow schemas if it lasts.",
    )


@diagnose.register
def _(error: ApiFailed) -> Diagnosis:
    named = f" ({error.reason})" if error.reason else ""
    return Diagnosis(
        description=f"The Kubernetes API server failed with {error.status}{named} to {_asked(error)}.",
        cause=_said(error),
        action="Look at the health of the API server and of its etcd: kubectl get --raw '/readyz?verbose'",
    )


@diagnose.register
def _(error: ConfigMapMissing) -> Diagnosis:
    return Diagnosis(
        description=f"There is no ConfigMap {error.name} in namespace {error.namespace}.",
        cause="K8S_CONFIGMAP_NAME names it, and the API server has none of that name there.",
        action=f"Create it: kubectl -n {error.namespace} create configmap {error.name}",
    )


@diagnose.register
def _(error: NoCluster) -> Diagnosis:
    return Diagnosis(
        description="There is no Kubernetes cluster to talk to.",
        cause="This is no pod (KUBERNETES_SERVICE_HOST is not set), and there is no kubeconfig:"
        f" {', '.join(error.looked)}.",
        action="Name a kubeconfig in K8S_KUBECONFIG, or leave ENABLE_K8S_CONFIG_WATCH and K8S_LEADERSHIP unset here.",
    )


@diagnose.register
def _(error: KubeconfigUnusable) -> Diagnosis:
    return Diagnosis(
        description=f"The kubeconfig {error.file} cannot be used: {error.reason}.",
        action=error.action,
    )


@diagnose.register
def _(error: CredentialUnusable) -> Diagnosis:
    return Diagnosis(
        description=f"The {error.purpose} in {error.place} cannot be used.",
        cause=f"{error.reason[:1].upper()}{error.reason[1:]}.",
        action=error.action or "Correct it, or make it readable for this user.",
    )


def _asked(error: ApiRefused) -> str:
    return f"{error.verb or 'ask for'} {error.what}"


def _said(error: ApiRefused) -> str:
    text = " ".join(error.message.split())
    if len(text) > SHOWN:
        text = f"{text[:SHOWN]}..."
    return f"It says: {text.rstrip('.')}." if text else ""
