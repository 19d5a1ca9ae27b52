"""One Markdown table as text."""


def table(head: str, rows: list[list[str]]) -> str:
    """Return a table; `head` holds the columns' names, parted by |."""
    columns = head.split("|")
    lines = ["| " + " | ".join(column.strip() for column in columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
