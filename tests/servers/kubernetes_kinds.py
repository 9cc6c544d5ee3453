"""The kinds that the API server of the tests keeps, and the rules that their objects obey."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.servers.kubernetes_status import Named, Object, bad_request, invalid

MAX_CONFIGMAP = 1024 * 1024
"""Bytes of all values of a ConfigMap together."""

Fault = tuple[str, str, str]
"""Field, machine's reason, sentence."""

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    r" '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_MICRO_TIME_FORM = "2006-01-02T15:04:05.000000Z07:00"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object.

    Attributes:
        plural: In paths.
        kind: In objects.
        short_names: For kubectl.
        put_creates: Whether a PUT of an object that is not there creates it.
        fields: Besides apiVersion, kind and metadata.
        read: Refuses what does not even decode, and brings the rest into the form in which it is kept.
        faults: What is against the rules in an object that decodes.
    """

    plural: str
    kind: str
    group: str
    version: str
    short_names: tuple[str, ...]
    put_creates: bool
    fields: tuple[str, ...]
    read: Callable[[Object], None]
    faults: Callable[[Object, Object | None], Iterator[Fault]]

    @property
    def api_version(self) -> str:
        """As in objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """What the paths begin with."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def named(self, name: str) -> Named:
        """One object of it, for a message."""
        return Named(plural=self.plural, group=self.group, name=name)

    def decoded(self, given: Any) -> Object:
        """An object as it was sent, with the fields that the kind has.

        Raises:
            ApiStatus: 400, it is none of this kind.
        """
        if not isinstance(given, dict):
            raise self.unrecognized("not an object")
        sent = (given.get("apiVersion", self.api_version), given.get("kind", self.kind))
        if sent != (self.api_version, self.kind):
            raise bad_request(
                f"{sent[1]} in version {_quoted(sent[0])} cannot be handled as a {self.kind}:"
                f" no kind {_quoted(sent[1])} is registered for version {_quoted(sent[0])}"
            )
        metadata = given.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise self.undecodable("json: cannot unmarshal metadata into Go struct field")
        kept = {name: given[name] for name in self.fields if given.get(name) is not None}
        self.read(kept)
        return {"kind": self.kind, "apiVersion": self.api_version, "metadata": metadata, **kept}

    def undecodable(self, why: str) -> Exception:
        """400 for a field of the wrong type."""
        return bad_request(f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}: {why}')

    def unrecognized(self, why: str) -> Exception:
        """400 for what is no object at all."""
        return bad_request(
            f"the object provided is unrecognized (must be of type {self.kind}): couldn't get version/kind;"
            f" json parse error: {why}"
        )

    def check(self, made: Object, before: Object | None) -> None:
        """Refuse an object that is against the rules.

        Raises:
            ApiStatus: 422.
        """
        name = str(made["metadata"].get("name", ""))
        faults = [*_name_faults(name), *self.faults(made, before)]
        if faults:
            raise invalid(self.kind, self.group, name, faults)


def _quoted(word: object) -> str:
    return f'"{word}"'


def _name_faults(name: str) -> Iterator[Fault]:
    if not name:
        yield "metadata.name", "FieldValueRequired", "Required value: name or generateName is required"
    elif not _NAME.fullmatch(name) or len(name) > 253:
        yield "metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {_NAME_RULE}'


def _read_configmap(sent: Object) -> None:
    for field in ("data", "binaryData"):
        values = sent.get(field, {})
        if not isinstance(values, dict):
            raise CONFIGMAPS.undecodable(f"json: cannot unmarshal into Go struct field ConfigMap.{field}")
        for value in values.values():
            if not isinstance(value, str):
                kind = "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "object"
                raise CONFIGMAPS.undecodable(
                    f"json: cannot unmarshal {kind} into Go struct field ConfigMap.{field} of type string"
                )
    for value in sent.get("binaryData", {}).values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise CONFIGMAPS.undecodable("illegal base64 data at input byte 0") from error


def _configmap_faults(made: Object, before: Object | None) -> Iterator[Fault]:
    data, binary = made.get("data", {}), made.get("binaryData", {})
    for field, keys in (("data", data), ("binaryData", binary)):
        for key in keys:
            if not _KEY.fullmatch(key):
                rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                rule += " (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is"
                rule += " '[-._a-zA-Z0-9]+')"
                yield f"{field}[{key}]", "FieldValueInvalid", f'Invalid value: "{key}": {rule}'
    size = sum(len(value.encode()) for value in data.values())
    size += sum(len(base64.b64decode(value)) for value in binary.values())
    if size > MAX_CONFIGMAP:
        yield "[]", "FieldValueTooLong", f"Too long: must have at most {MAX_CONFIGMAP} bytes"
    if before is not None and before.get("immutable"):
        if made.get("immutable") is not True:
            why = "Forbidden: field is immutable when `immutable` is set"
            yield "immutable", "FieldValueForbidden", why
        for field, now in (("data", data), ("binaryData", binary)):
            if now != before.get(field, {}):
                yield field, "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set"


def _read_lease(sent: Object) -> None:
    spec = sent["spec"] = dict(sent.get("spec", {}))
    for field in ("acquireTime", "renewTime"):
        given = spec.get(field)
        if given is not None and (not isinstance(given, str) or not _MICRO_TIME.fullmatch(given)):
            why = f'parsing time "{given}" as "{_MICRO_TIME_FORM}": cannot parse "{given}" as "{_MICRO_TIME_FORM}"'
            raise LEASES.undecodable(why)
        if given is not None:
            utc = datetime.fromisoformat(given).astimezone(UTC)
            spec[field] = utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for field, wanted in (("leaseDurationSeconds", int), ("leaseTransitions", int), ("holderIdentity", str)):
        given = spec.get(field)
        if given is not None and (not isinstance(given, wanted) or isinstance(given, bool)):
            go = "int32" if wanted is int else "string"
            found = "string" if isinstance(given, str) else "number"
            raise LEASES.undecodable(
                f"json: cannot unmarshal {found} into Go struct field LeaseSpec.spec.{field} of type {go}"
            )


def _lease_faults(made: Object, before: Object | None) -> Iterator[Fault]:
    spec = made.get("spec", {})
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        yield "spec.leaseDurationSeconds", "FieldValueInvalid", f"Invalid value: {duration}: must be greater than 0"
    if transitions is not None and transitions < 0:
        why = f"Invalid value: {transitions}: must be greater than or equal to 0"
        yield "spec.leaseTransitions", "FieldValueInvalid", why


CONFIGMAPS = Kind(
    plural="configmaps",
    kind="ConfigMap",
    group="",
    version="v1",
    short_names=("cm",),
    put_creates=False,
    fields=("data", "binaryData", "immutable"),
    read=_read_configmap,
    faults=_configmap_faults,
)
LEASES = Kind(
    plural="leases",
    kind="Lease",
    group="coordination.k8s.io",
    version="v1",
    short_names=(),
    put_creates=True,
    fields=("spec",),
    read=_read_lease,
    faults=_lease_faults,
)
KINDS = {kind.plural: kind for kind in (CONFIGMAPS, LEASES)}
