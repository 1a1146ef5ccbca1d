"""Tables in a document that a command writes anew; the text around them stays.

A table stands between two lines. The first one names the table and, if it does not show all there is, what it shows:

    <!-- results:accuracy skeleton-loso fusion-loso -->
    <!-- /results:accuracy -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from hartx.errors import HartxError, suggestion


def read_document(path: Path) -> str:
    """Return the text of a document whose tables are to be written anew.

    Raises:
      HartxError: if it is a folder or not there.
    """
    if path.is_dir():
        raise HartxError(f"--output={path} was given, which is a folder; the document in it is expected")
    if not path.exists():
        raise HartxError(f"{path} does not exist; write it with the text and the markers of the tables first")
    return path.read_text()


def with_blocks(text: str, topic: str, kinds: Collection[str], write: Callable[[str, list[str]], str]) -> str:
    """Return a document with its tables written anew.

    Args:
      text: the document.
      topic: what stands before the colon in the markers that are meant.
      kinds: the tables there are.
      write: the table and the names behind it to its Markdown.

    Raises:
      HartxError: for a marker without its partner, or an unknown table.
    """
    block = re.compile(rf"(<!-- {topic}:(\S+)((?: \S+)*) -->\n)(.*?)(<!-- /{topic}:\2 -->)", re.DOTALL)
    if 2 * len(block.findall(text)) != len(re.findall(rf"<!-- /?{topic}:", text)):
        raise HartxError(
            f"the markers do not go in pairs; <!-- {topic}:TABLE NAME ... --> and <!-- /{topic}:TABLE -->, each on a "
            "line of its own, are expected"
        )

    def written(match: re.Match[str]) -> str:
        start, kind, names, _, end = match.groups()
        if kind not in kinds:
            raise HartxError(
                f"<!-- {topic}:{kind} --> was given; one of {', '.join(kinds)} is expected{suggestion(kind, kinds)}"
            )
        return f"{start}\n{write(kind, names.split())}\n{end}"

    return block.sub(written, text)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table that ends with a line break.

    Args:
      columns: their heads.
      rows: the cells of each row.
      left: number of columns, from the first on, that are set to the left; the others are set to the right.
    """
    marks = ["---"] * left + ["---:"] * (len(columns) - left)
    return "".join("| " + " | ".join(line) + " |\n" for line in (columns, marks, *rows))
