"""What the API server of the tests keeps: objects, their versions, and the history that watches are told from."""

from __future__ import annotations

import copy
import random
import string
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.servers.kubernetes_kinds import Kind
from tests.servers.kubernetes_status import (
    ApiStatus,
    Named,
    Object,
    already_exists,
    conflict,
    expired,
    malformed_version,
    not_found,
)

Key = tuple[str, str, str]
"""Plural, namespace, name."""

FIRST_VERSION = 1000
"""As in a cluster that has lived for a while: 0 and 1 mean something else."""

SUFFIX = string.digits + string.ascii_lowercase

_KEPT_BY_SERVER = ("uid", "creationTimestamp", "resourceVersion", "namespace", "name", "generateName")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One write.

    Attributes:
        version: The resourceVersion that it made.
        before: The object as it was; None when it was created.
        after: The object as it is; None when it was deleted.
        last: What a watch is told: the new object, or the deleted one's last state with this version.
        told: Whether watches are told.
    """

    version: int
    key: Key
    before: Object | None
    after: Object | None
    last: Object
    told: bool = True


class Store:
    """All objects. For any thread; what is given in and out is the caller's own copy.

    Attributes:
        version: The resourceVersion of the last write of anything.
        compacted: History up to this version is forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[Key, Object] = {}
        self._history: list[Change] = []
        self._listeners: list[Callable[[], None]] = []
        self._deaf_to_deletes = 0
        self.version = FIRST_VERSION
        self.compacted = FIRST_VERSION

    def listen(self, told: Callable[[], None]) -> None:
        """Call this after every write, in the writer's thread."""
        with self._lock:
            self._listeners.append(told)

    def forget(self, told: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._listeners.remove(told)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object.

        Raises:
            ApiStatus: 404.
        """
        with self._lock:
            found = self._objects.get((kind.plural, namespace, name))
        if found is None:
            raise not_found(kind.named(name))
        return copy.deepcopy(found)

    def objects(self, kind: Kind, namespace: str, *, at: int | None = None) -> tuple[list[Object], int]:
        """The objects of a kind in the order of their names, and the resourceVersion that this is the state of.

        Args:
            namespace: Empty for all.
            at: As it was at this version; None for now.

        Raises:
            ApiStatus: 410, the history does not reach back.
        """
        with self._lock:
            version = self.version if at is None else at
            objects = dict(self._objects)
            for change in reversed(self.after(version)):
                if change.before is None:
                    objects.pop(change.key, None)
                else:
                    objects[change.key] = change.before
        mine = [key for key in sorted(objects) if key[0] == kind.plural and namespace in ("", key[1])]
        return [copy.deepcopy(objects[key]) for key in mine], version

    def after(self, version: int, *, live: bool = False) -> list[Change]:
        """The writes since then, in order; not to be changed.

        Args:
            live: For a watch that has been told everything so far: compaction takes nothing from it.

        Raises:
            ApiStatus: 410, the history does not reach back.
        """
        with self._lock:
            if version < self.compacted and not live:
                raise expired(f"too old resource version: {version} ({self.compacted})")
            return self._history[bisect_right(self._history, version, key=lambda change: change.version) :]

    def create(self, kind: Kind, namespace: str, given: Object) -> Object:
        """Add one.

        Raises:
            ApiStatus: 409 when it is there already, 422 when it is against the rules.
        """
        made = copy.deepcopy(given)
        metadata = made["metadata"]
        if metadata.get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise ApiStatus(500, "", message)  # the caller's fault, and yet this is what the real server says
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(random.choices(SUFFIX, k=5))
        kind.check(made, None)
        key = (kind.plural, namespace, str(metadata["name"]))
        with self._lock:
            if key in self._objects:
                raise already_exists(kind.named(key[2]))
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            metadata.update(namespace=namespace, uid=str(uuid.uuid4()), creationTimestamp=now)
            return self._written(key, None, made)

    def replace(self, kind: Kind, namespace: str, name: str, given: Object) -> tuple[Object, bool]:
        """Put another in its place: whatever it is when `given` has no resourceVersion, else that version of it.

        Returns:
            The object, and whether it was created: a PUT does that for some kinds.

        Raises:
            ApiStatus: 404, 409 when it has changed or is another one by now, 422 when it is against the rules.
        """
        made = copy.deepcopy(given)
        key = (kind.plural, namespace, name)
        with self._lock:
            before = self._objects.get(key)
            if before is None and not kind.put_creates:
                raise not_found(kind.named(name))
            metadata = made["metadata"]
            kept = {"uid": ""} if before is None else before["metadata"]
            uid, version = metadata.get("uid"), metadata.get("resourceVersion") or "0"
            if uid and uid != kept["uid"]:
                raise conflict(kind.named(name), _other_uid(key, uid, kept["uid"]))
            if before is None:  # of whatever version the caller believed it to be
                metadata.pop("resourceVersion", None)
                return self.create(kind, namespace, made), True
            if not version.isdigit():
                raise malformed_version("", version)
            if version != "0" and version != kept["resourceVersion"]:
                raise conflict(kind.named(name))
            metadata.update({field: kept[field] for field in _KEPT_BY_SERVER if field in kept})
            kind.check(made, before)
            if made == before:
                return made, False  # nothing is written, and nobody is told
            return self._written(key, before, made), False

    def delete(self, kind: Kind, namespace: str, name: str, preconditions: Mapping[str, Any]) -> Object:
        """Take it away, if it is the one that is meant.

        Raises:
            ApiStatus: 404, or 409 for another uid or resourceVersion.
        """
        key = (kind.plural, namespace, name)
        with self._lock:
            before = self.get(kind, namespace, name)
            said = {
                "uid": "the UID in the precondition ({}) does not match the UID in record ({}).",
                "resourceVersion": "the ResourceVersion in the precondition ({}) does not match the ResourceVersion"
                " in record ({}).",
            }
            then = {"uid": "deleted and then recreated", "resourceVersion": "modified"}
            for field, words in said.items():
                wanted, has = preconditions.get(field), before["metadata"][field]
                if wanted is not None and wanted != has:
                    why = f"{words.format(wanted, has)} The object might have been {then[field]}"
                    raise conflict(Named(plural=kind.kind, group=kind.group, name=name), why)
            self._written(key, before, None)
            return before

    def compact(self) -> None:
        """Forget the history, as etcd is made to every five minutes. Every version that was seen is too old then."""
        with self._lock:
            self.pass_by()
            self.compacted = self.version

    def pass_by(self) -> None:
        """Move the version on, as a write of something that nobody here sees does."""
        with self._lock:
            self.version += 1

    def lose_next_delete(self) -> None:
        """Tell no watch of the next deletion."""
        with self._lock:
            self._deaf_to_deletes += 1

    def _written(self, key: Key, before: Object | None, after: Object | None) -> Object:
        self.version += 1
        last = copy.deepcopy(before if after is None else after)
        assert last is not None
        last["metadata"]["resourceVersion"] = str(self.version)
        told = True
        if after is None:
            del self._objects[key]
            told = not self._deaf_to_deletes
            self._deaf_to_deletes = max(0, self._deaf_to_deletes - 1)
        else:
            self._objects[key] = last
        self._history.append(
            Change(
                version=self.version,
                key=key,
                before=before,
                after=None if after is None else last,
                last=last,
                told=told,
            )
        )
        for listener in self._listeners:
            listener()
        return copy.deepcopy(last)


def _other_uid(key: Key, asked: str, has: str) -> str:
    return (
        f"StorageError: invalid object, Code: 4, Key: /registry/{'/'.join(key)}, ResourceVersion: 0,"
        f" AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object meta: {has}"
    )
