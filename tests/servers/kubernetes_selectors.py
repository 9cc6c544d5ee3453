"""Label and field selectors of the API server of the tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.servers.kubernetes_status import Object, bad_request

Matches = Callable[[Object], bool]

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9]?[-A-Za-z0-9_.]*"
_TERMS = re.compile(r"\s*(?:[^,()]|\([^()]*\))+\s*(?:,|$)")
_IN_SET = re.compile(rf"(?P<key>{_NAME})\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALS = re.compile(rf"(?P<key>{_NAME})\s*(?P<operator>==|!=|=)\s*(?P<values>{_VALUE})")
_EXISTS = re.compile(rf"(?P<operator>!?)\s*(?P<key>{_NAME})")


def label_selector(text: str) -> Matches:
    """What `app=forms,tier in (web, api),!canary` chooses.

    Raises:
        ApiStatus: 400, it is none.
    """
    terms = [_label_term(term) for term in _split(text)]
    return lambda made: all(term(made["metadata"].get("labels") or {}) for term in terms)


def field_selector(text: str) -> Matches:
    """What `metadata.name=forms` chooses.

    Raises:
        ApiStatus: 400, it is none, or it names a field that these kinds cannot be chosen by.
    """
    terms = [_field_term(term) for term in _split(text)]
    return lambda made: all(term(made["metadata"]) for term in terms)


def selected_name(text: str) -> str:
    """The one name that a field selector chooses; empty when it chooses otherwise."""
    names = [term.partition("=")[2].lstrip("=") for term in _split(text) if re.match(r"metadata\.name==?[^=]", term)]
    return names[0] if len(names) == 1 else ""


def _split(text: str) -> list[str]:
    if not text.strip():
        return []
    terms = [found.group() for found in _TERMS.finditer(text)]
    if "".join(terms) != text:
        raise bad_request(f"unable to parse requirement: found '{text}'")
    return [term.strip().removesuffix(",").strip() for term in terms]


def _label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    for form in (_IN_SET, _EQUALS, _EXISTS):
        found = form.fullmatch(term)
        if found is not None:
            break
    else:
        raise bad_request(f"unable to parse requirement: found '{term}'")
    key, operator = found["key"], found["operator"]
    if form is _EXISTS:
        return (lambda labels: key not in labels) if operator else (lambda labels: key in labels)
    values = {value.strip() for value in found["values"].split(",")}
    if operator in ("in", "=", "=="):
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _field_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    found = re.fullmatch(r"([\w.]+)(==|!=|=)(.*)", term)
    if found is None:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    field, operator, value = found.groups()
    if field not in ("metadata.name", "metadata.namespace"):
        raise bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    key = field.removeprefix("metadata.")
    if operator == "!=":
        return lambda metadata: metadata.get(key) != value
    return lambda metadata: metadata.get(key) == value
