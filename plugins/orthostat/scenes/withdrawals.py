"""Scenes that a person has withdrawn: they are not predicted, and no figure rests on them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from orthostat import storage
from orthostat.errors import SceneError
from orthostat.layout import Layout


class Withdrawal(BaseModel):
    """Why a scene counts no longer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene_id: str
    reason: str
    withdrawn_at: datetime
    """UTC."""


def withdraw(layout: Layout, scene_id: str, reason: str) -> Withdrawal:
    """Record that a scene is withdrawn, over any record of it that there is.

    Raises SceneError without a reason.
    """
    if not reason.strip():
        raise SceneError(
            f"scene '{scene_id}' is withdrawn without a reason; say why, for whoever reads of it"
        )
    withdrawal = Withdrawal(scene_id=scene_id, reason=reason, withdrawn_at=datetime.now(UTC))
    storage.write_json(layout.withdrawal(scene_id), withdrawal.model_dump(mode="json"))
    return withdrawal


def restore(layout: Layout, scene_id: str) -> None:
    """Let a scene count again. Raises SceneError when it was not withdrawn."""
    withdrawn = read_withdrawals(layout)
    if scene_id not in withdrawn:
        raise SceneError(
            f"scene '{scene_id}' is not withdrawn; withdrawn are: {', '.join(sorted(withdrawn)) or 'none'}"
        )
    storage.delete(layout.withdrawal(scene_id))


def read_withdrawals(layout: Layout) -> Mapping[str, str]:
    """The reason of each withdrawal, by scene id."""
    entries = storage.list_objects(layout.withdrawals())
    found = [Withdrawal.model_validate(storage.read_json(entry.uri)) for entry in entries]
    return {withdrawal.scene_id: withdrawal.reason for withdrawal in found}
