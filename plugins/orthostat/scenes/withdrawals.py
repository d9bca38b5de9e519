"""Scenes that a person has withdrawn: they are not predicted, and no figure rests on them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.layout import Layout


class Withdrawal(BaseModel):
    """Why a scene counts no longer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene_id: str
    reason: str
    withdrawn_at: datetime
    """UTC."""


def withdraw(layout: Layout, scene_id: str, reason: str) -> Withdrawal:
    """Record that a scene is withdrawn, over any record of it that there is."""
    withdrawal = Withdrawal(scene_id=scene_id, reason=reason, withdrawn_at=datetime.now(UTC))
    storage.write_json(layout.withdrawal(scene_id), withdrawal.model_dump(mode="json"))
    return withdrawal


def restore(layout: Layout, scene_id: str) -> None:
    """Let a scene count again. Raises StorageError when it was not withdrawn."""
    uri = layout.withdrawal(scene_id)
    storage.describe(uri)
    storage.delete(uri)


def read_withdrawals(layout: Layout) -> Mapping[str, str]:
    """The reason of each withdrawal, by scene id."""
    entries = storage.list_objects(layout.withdrawals())
    found = [Withdrawal.model_validate(storage.read_json(entry.uri)) for entry in entries]
    return {withdrawal.scene_id: withdrawal.reason for withdrawal in found}
