"""What decides a period's figures, part by part, so that a revision and a break can say why."""

from pydantic import BaseModel, ConfigDict

from orthostat import storage

PUBLISH_VERSION = 1
"""Rises when equal estimates and rules give other rows (`rows.build_rows`)."""

_WORDS = {
    "scenes": "scenes",
    "model": "model",
    "labels": "predictions",
    "options": "options of the prediction",
    "boundaries": "zones",
    "boundary_version": "version of the zones",
    "zone_names": "names of the zones",
    "grid": "grid",
    "rule": "rule of composing",
    "merge_threshold": "merge_threshold",
    "sample": "reference sample",
    "publication": "rules of publication",
    "period_state": "state of the period",
    "steps": "Orthostat",
}
"""What people call each part."""


class Inputs(BaseModel):
    """All that decides the figures of a period: values where they are short, else digests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenes: str
    """Digest of the used scenes: their images, dates and rank."""
    labels: str
    """Digest of the files that the model made of them."""
    model: str
    options: str
    """Digest of what else decides the labels."""
    boundaries: str
    """Digest of the zones' ids, borders and hierarchy."""
    boundary_version: str
    zone_names: str
    grid: str
    rule: str
    merge_threshold: float
    """Counts where objects do."""
    sample: str | None
    publication: str
    period_state: str
    """`open` or `closed`."""
    steps: str
    """Versions of the steps."""

    @property
    def sha256(self) -> str:
        """Digest of all of them."""
        return storage.digest(self.model_dump(mode="json"))

    def changes(self, before: "Inputs") -> list[str]:
        """What is not as it was, in words; other labels are named where nothing says why they are others."""
        changed = [name for name in _WORDS if getattr(self, name) != getattr(before, name)]
        if {"scenes", "model", "options"}.intersection(changed):
            changed = [name for name in changed if name != "labels"]
        return [_WORDS[name] for name in changed]

    def has_rules_of(self, other: "Inputs") -> bool:
        """Whether the pipeline, its zones and its sample are the same, whatever the scenes."""
        of_scenes = {"scenes", "labels", "period_state"}
        return self.model_dump(exclude=of_scenes) == other.model_dump(exclude=of_scenes)
