"""Quotes that another character escapes, as Spark writes them by default, spelled as others read them: doubled.

Within quotes the escape makes a quote, or itself, a plain character; before any other it is one itself, and so it is
outside of quotes: Spark, Hive and PostgreSQL (`COPY … ESCAPE`) agree on that. The csv module's own `escapechar` would
take it out of `C:\\temp` as well.
"""

from __future__ import annotations

import re


class Escapes:
    """Rewrites lines of CSV."""

    def __init__(self, escape: str, delimiter: str) -> None:
        self._escape = escape
        one = re.escape(escape)
        # What stands within quotes, up to the quote that closes them or to the end of the line.
        content = rf'(?:[^"{one}]+|{one}.?|"")*'
        self._content = re.compile(content, re.DOTALL)
        self._field = re.compile(rf'({re.escape(delimiter)}")({content})', re.DOTALL)
        self._pair = re.compile(rf'{one}(["{one}])')

    def doubled(self, line: str, is_within: bool) -> str:
        """The line with doubled quotes; `is_within` says that it begins within quotes."""
        if self._escape not in line:
            return line
        head, rest = "", line
        if is_within or line.startswith('"'):
            content = self._content.match(line, 0 if is_within else 1)
            if content is not None:  # which it never is: it may be empty
                head = line[: content.start()] + self._plain(content.group())
                rest = line[content.end() :]
        return head + self._field.sub(lambda found: found[1] + self._plain(found[2]), rest)

    def _plain(self, content: str) -> str:
        return self._pair.sub(lambda found: '""' if found[1] == '"' else self._escape, content)
