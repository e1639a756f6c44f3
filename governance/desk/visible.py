"""Untrusted text made safe to look at: escaped for HTML, deceiving characters shown as pictures."""

from __future__ import annotations

import re
import unicodedata

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, except tab and line feed
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners and fillers
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"  # zero width, bidi
    "\ud800-\udfff"  # lone surrogates
    "\U000e0000-\U000e0fff"  # tags and variation selectors
    "]"
)


def visible(text: str) -> SafeString:
    """Escape `text` for HTML and replace each hidden character by a marked picture that names it."""
    parts: list[str] = []
    at = 0
    for found in _HIDDEN.finditer(text):
        parts.append(escape(text[at : found.start()]))
        parts.append(_picture(found.group()))
        at = found.end()
    parts.append(escape(text[at:]))
    return mark_safe("".join(parts))  # every part was escaped above


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        shown = chr(0x2400 + code)
    elif code == 0x7F:
        shown = "\u2421"
    else:
        shown = f"[U+{code:04X}]"
    name = unicodedata.name(character, f"control character {code:#04x}").lower()
    return f'<span class="ctl" title="U+{code:04X} {escape(name)}">{shown}</span>'
