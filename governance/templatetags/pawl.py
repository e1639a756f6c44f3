"""Template filters of the desk: how digests, scores, ages and untrusted text are shown."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from governance.desk import visible as visible_text
from governance.factors import kinds_of
from governance.models import Halt
from governance.people import person_for_user

register = template.Library()


@register.simple_tag
def open_halts() -> list[Halt]:
    """What is stopped now, for the banner of every page."""
    return list(Halt.objects.filter(resumed_at__isnull=True).order_by("scope"))


@register.simple_tag(takes_context=True)
def desk_roles(context: template.Context) -> frozenset[str]:
    """The roles of the visitor, as the page asked for them already."""
    return getattr(context.get("request"), "desk_roles", frozenset())


@register.simple_tag(takes_context=True)
def own_factors(context: template.Context) -> tuple[str, ...]:
    """The kinds of second factor that the visitor's step-up asks for; looked up once a page."""
    request = context["request"]
    if not hasattr(request, "own_factors"):
        person = person_for_user(request.user)
        request.own_factors = kinds_of(person) if person else ()
    found: tuple[str, ...] = request.own_factors
    return found


@register.filter
def percent(value: object) -> str:
    """A share from 0 to 1 in per cent; `not measured` for a missing one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "not measured"
    return f"{100 * value:.0f} %"


@register.filter
def visible(value: object) -> SafeString:
    """Untrusted text, escaped, with deceiving characters shown as pictures."""
    return visible_text.visible(str(value))


@register.filter
def digest(value: str) -> SafeString:
    """The first 12 characters of a digest, the whole of it on hover."""
    return (
        format_html('<span class="digest" title="{}">{}</span>', value, value[:12]) if value else SafeString()
    )


@register.filter
def code(value: str) -> str:
    """The short code of a subject digest: two groups of four characters that people can read to each other."""
    return f"{value[:4]}-{value[4:8]}".upper() if value else ""


@register.filter
def score(value: object) -> str:
    """A score with 4 significant digits; `unknown` for a missing one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "unknown"
    return f"{value:.4g}"


@register.filter
def signed(value: object) -> str:
    """A difference with its sign; `unknown` for a missing one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "unknown"
    return f"{value:+.3g}".replace("-", "\u2212")


@register.filter
def usd(value: object) -> str:
    """Money in US dollars; fractions of a cent stay visible."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "unknown"
    return f"${value:.2f}" if value == 0 or abs(value) >= 0.01 else f"${value:.5f}"


@register.filter
def duration(value: object) -> str:
    """Seconds as `42 s`, `3 min 5 s` or `2 h 10 min`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "unknown"
    if value < 60:
        return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


@register.filter
def age(value: datetime | None) -> str:
    """How long ago, in one unit: `12 s`, `5 min`, `3 h`, `2 d`."""
    if value is None:
        return ""
    seconds = max(0, int((timezone.now() - value).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@register.filter
def words(value: str) -> str:
    """A machine name as words: `changes_requested` as `changes requested`."""
    return value.replace("_", " ")


@register.filter
def pretty(value: Any) -> str:
    """Any JSON value as indented text, or a plain text as it is."""
    return (
        value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    )


@register.filter
def one_line(value: object) -> str:
    """The start of a text on one line, for summaries."""
    text = " ".join(str(value).split())
    return text if len(text) <= 160 else f"{text[:159]}\u2026"


@register.filter
def pvalue(value: object) -> str:
    """A probability with 3 significant digits; small ones in powers of ten."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "unknown"
    return f"{value:.3g}" if value == 0 or value >= 1e-4 else f"{value:.1e}"


@register.filter
def minus(value: object, other: object) -> float | None:
    """The difference of two numbers; None when one of them is unknown."""
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return float(value) - float(other)
    return None


@register.filter
def count(value: float) -> str:
    """A whole number with thousands separated."""
    return f"{value:,.0f}"


@register.filter
def unlocal(value: float) -> str:
    """A number as HTML attributes want it."""
    return f"{value:.6g}"


@register.filter
def split_words(value: str) -> list[str]:
    """The words of a text, for short fixed lists in templates."""
    return value.split()
