"""The Role, as YAML, that lets a user of the API server do what it was denied."""

from __future__ import annotations

import re

from eggycore_k8s_watch.objects import Collection

__all__ = ["role_for", "service_account_of"]

_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):(.+)")


def service_account_of(user: str) -> tuple[str, str] | None:
    """Namespace and name of the ServiceAccount that a user name stands for, None when it stands for none."""
    found = _SERVICE_ACCOUNT.fullmatch(user)
    return (found[1], found[2]) if found else None


def role_for(collection: Collection, *, namespace: str, name: str = "", user: str = "") -> str:
    """A Role with all verbs that this plugin uses on the collection, and the RoleBinding that gives it to the user.

    Args:
        collection: What it is about.
        namespace: Where.
        name: The only object that is needed; any when "".
        user: Who was denied: "system:serviceaccount:shop:forms", or a user's name; "" when it is not known.
    """
    role = f"eggycore-{collection.resource}"
    return (
        "apiVersion: rbac.authorization.k8s.io/v1\n"
        "kind: Role\n"
        f"metadata: {{name: {role}, namespace: {namespace}}}\n"
        "rules:\n"
        f"{_rules(collection, name)}"
        "---\n"
        "apiVersion: rbac.authorization.k8s.io/v1\n"
        "kind: RoleBinding\n"
        f"metadata: {{name: {role}, namespace: {namespace}}}\n"
        f"roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}\n"
        f"subjects: [{_subject(user, namespace)}]"
    )


def _rules(collection: Collection, name: str) -> str:
    if not name:
        return _rule(collection, collection.verbs)
    # An object that is yet to be made has no name that a Role could hold it to.
    named = tuple(verb for verb in collection.verbs if verb != "create")
    rules = _rule(collection, named, name)
    return rules if named == collection.verbs else rules + _rule(collection, ("create",))


def _rule(collection: Collection, verbs: tuple[str, ...], name: str = "") -> str:
    names = f", resourceNames: [{name}]" if name else ""
    return (
        f'- {{apiGroups: ["{collection.group}"], resources: [{collection.resource}]{names},'
        f" verbs: [{', '.join(verbs)}]}}\n"
    )


def _subject(user: str, namespace: str) -> str:
    account = service_account_of(user)
    if account is not None:
        return f"{{kind: ServiceAccount, name: {account[1]}, namespace: {account[0]}}}"
    if user:
        return f'{{apiGroup: rbac.authorization.k8s.io, kind: User, name: "{user}"}}'
    return f"{{kind: ServiceAccount, name: default, namespace: {namespace}}}"
