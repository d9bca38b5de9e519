"""What steps say of themselves while they run, by way of XComs."""

import re

TAG = "orthostat"
"""Tag of the DAGs whose runs are told about."""
NOTE = "orthostat_note"
"""XCom key of the sentence that a step adds to its run's note."""
PROGRESS = "orthostat_progress"
"""XCom key of how far a step is: `done`, `failed` and `of`, counted in `what`."""
PLANNED = "orthostat_planned"
"""XCom key of how much is to be done in the whole run, by step."""
Progress = dict[str, int | str]


def read_progress(line: str) -> Progress | None:
    """How far a step is, from a line of its log; None when the line says nothing of it."""
    found = re.search(r"(\d+) of (\d+) (scenes|tiles) done(?:, (\d+) failed)?", line)
    if found is None:
        return None
    return {"done": int(found[1]), "failed": int(found[4] or 0), "of": int(found[2]), "what": found[3]}


def tell_progress(progress: Progress) -> str:
    """The same in words: `3 of 10 scenes done, 1 of them failed, 7 left`."""
    failed = f", {progress['failed']} of them failed" if progress["failed"] else ""
    left = int(progress["of"]) - int(progress["done"])
    return f"{progress['done']} of {progress['of']} {progress['what']} done{failed}, {left} left"
