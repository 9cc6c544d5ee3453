"""What a look at manifests finds: each finding with its place, what is wrong, why that matters and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from eggycore_k8s_watch.manifest_documents import Document, Place

__all__ = ["Finding", "Report", "render_findings"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One disagreement between manifests and the app.

    Args:
        file: Where it stands.
        line: The line there, from 1.
        object: Kind and name of the object.
        state: "red" breaks something; "warning" is worth a look.
        what: What is wrong, a sentence without secrets.
        why: Why it matters, a sentence.
        action: What to do about it.
    """

    file: str
    line: int
    object: str
    state: Literal["red", "warning"]
    what: str
    why: str
    action: str


@dataclass
class Report:
    """Collects findings; the same one is kept once."""

    findings: list[Finding] = field(default_factory=list)

    def red(self, document: Document, place: Place | int, what: str, why: str, action: str) -> None:
        """Add a finding that breaks something."""
        self._add("red", document, place, what, why, action)

    def warning(self, document: Document, place: Place | int, what: str, why: str, action: str) -> None:
        """Add a finding that is worth a look."""
        self._add("warning", document, place, what, why, action)

    def _add(
        self,
        state: Literal["red", "warning"],
        document: Document,
        place: Place | int,
        what: str,
        why: str,
        action: str,
    ) -> None:
        line = place if isinstance(place, int) else place.line
        finding = Finding(
            file=document.file, line=line, object=str(document), state=state, what=what, why=why, action=action
        )
        if finding not in self.findings:
            self.findings.append(finding)


def render_findings(findings: Sequence[Finding], objects: int) -> str:
    """The findings as lines for a terminal, and a last line that counts them."""
    blocks = [
        f"{'RED' if one.state == 'red' else one.state}: {one.file}:{one.line}, {one.object}\n"
        f"  {one.what}\n"
        f"  {one.why}\n"
        f"  -> {one.action}"
        for one in findings
    ]
    red = sum(one.state == "red" for one in findings)
    looked = f"{objects} object{'s' if objects != 1 else ''}"
    if not findings:
        return f"{looked}, and no disagreement with the app was found."
    warnings = len(findings) - red
    counted = f"{looked}: {red} red, {warnings} warning{'s' if warnings != 1 else ''}."
    return "\n\n".join([*blocks, counted])
