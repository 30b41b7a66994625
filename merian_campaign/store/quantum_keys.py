"""SQL for what is stored of quanta in a shorter way than people need it: keys, and paths of logs."""

from __future__ import annotations


def key(task: str, data_id: str) -> str:
    """Return SQL for the digest by which a quantum is found in its group, as the index has it."""
    return f"(md5({task} || ' ' || {data_id})::uuid)"


def full_path(path: str, directory: str) -> str:
    """Return SQL for a stored path of a log as people need it, under a submission's directory."""
    return f"CASE WHEN starts_with({path}, './') THEN {directory} || substr({path}, 2) ELSE {path} END"
