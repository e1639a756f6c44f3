"""The admin as a reading room: people with a role look, nobody adds, changes or deletes, superusers included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from governance.people import person_for_user
from governance.roles import ROLES, roles_of

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Model]
else:
    _ModelAdmin = admin.ModelAdmin


def roles_of_request(request: HttpRequest) -> frozenset[str]:
    """The roles of the person behind a request; none for an account without a person."""
    person = person_for_user(request.user)
    return roles_of(person) if person else frozenset()


class ReadingRoom(_ModelAdmin):
    """A model that is read in the admin, never written."""

    readers: ClassVar[frozenset[str]] = frozenset(ROLES)
    list_per_page = 50
    show_full_result_count = False
    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whoever may read one of its models sees the application."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """People with one of the reading roles."""
        return not roles_of_request(request).isdisjoint(self.readers)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False


def short(value: str) -> SafeString:
    """The first characters of a digest or reference; the whole shows when the pointer rests on it."""
    return format_html('<code title="{}">{}</code>', value, value[:12]) if value else SafeString("-")


def by_field(name: str, label: str) -> Any:
    """A list column with a field's first characters."""

    @admin.display(description=label, ordering=name)
    def column(row: Model) -> SafeString:
        return short(str(getattr(row, name)))

    return column


def moment(name: str, label: str) -> Any:
    """A list column with a moment in UTC, to the second."""

    @admin.display(description=label, ordering=name)
    def column(row: Model) -> str:
        value = getattr(row, name)
        return f"{value:%Y-%m-%d %H:%M:%S}" if value else "-"

    return column
