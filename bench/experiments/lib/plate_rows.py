"""Rows that measure the plate models: a figure, its goal, and the time beside another reader's."""

from lib.experiment import Row


def reached(row: Row) -> bool:
    """Whether a row is at least its goal, or at most where it says so."""
    return bool(row["value"] <= row["goal"] if row.get("most") else row["value"] >= row["goal"])


COLUMNS = {
    "": "{what}",
    "measured": "{value:.3g} {unit}",
    "strict": lambda row: str(row.get("strict", "")),
    "goal": lambda row: f"{'≤' if row.get('most') else '≥'} {row['goal']:g}",
    "ms": lambda row: ", ".join(f"{k} {v:.2f}" for k, v in row.get("ms", {}).items()),
}
