"""How many typing errors apart two texts are."""


def edit_distance(one: str, other: str, limit: int | None = None) -> int:
    """Insertions, deletions and replacements that make one text of another (Levenshtein, 1966).

    Args:
        one: A text.
        other: A text.
        limit: Stop where the distance is above this number.

    Returns:
        The distance; ``limit + 1`` where it is above ``limit``.
    """
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    one, other = one[start : len(one) - end], other[start : len(other) - end]
    beyond = max(len(one), len(other)) + 1 if limit is None else limit + 1
    if abs(len(one) - len(other)) >= beyond:
        return beyond
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, other_char in enumerate(other, 1):
            replaced = diagonal + (char != other_char)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, replaced)
        if min(row) >= beyond:
            return beyond
    return min(row[-1], beyond)
