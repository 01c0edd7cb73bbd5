"""Rewrites escaped quotes, as Spark writes them by default, to doubled quotes.

Within quotes the escape character escapes a quote and itself; before any other character, and outside of quotes, it is
literal: Spark, Hive and PostgreSQL (`COPY … ESCAPE`) agree on that. `escapechar` of the csv module would remove it
from `C:\\temp` as well.
"""

from __future__ import annotations

import re


class QuoteRewriter:
    """Rewrites escaped quotes in lines of CSV."""

    def __init__(self, escape: str, delimiter: str) -> None:
        self._escape = escape
        one = re.escape(escape)
        # The content within quotes, up to the closing quote or the end of the line.
        content = rf'(?:[^"{one}]+|{one}.?|"")*'
        self._content = re.compile(content, re.DOTALL)
        self._field = re.compile(rf'({re.escape(delimiter)}")({content})', re.DOTALL)
        self._pair = re.compile(rf'{one}(["{one}])')

    def double_quotes(self, line: str, is_within_quotes: bool) -> str:
        """Double the escaped quotes of a line; `is_within_quotes`: the line begins within quotes."""
        if self._escape not in line:
            return line
        head, rest = "", line
        if is_within_quotes or line.startswith('"'):
            content = self._content.match(line, 0 if is_within_quotes else 1)
            if content is not None:  # never None, since the pattern matches an empty text
                head = line[: content.start()] + self._rewrite_content(content.group())
                rest = line[content.end() :]
        return head + self._field.sub(lambda found: found[1] + self._rewrite_content(found[2]), rest)

    def _rewrite_content(self, content: str) -> str:
        return self._pair.sub(lambda found: '""' if found[1] == '"' else self._escape, content)
