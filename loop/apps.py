"""Django application: loop."""

from __future__ import annotations

from django.apps import AppConfig


class LoopConfig(AppConfig):
    """Registers the `loop` application."""

    name = "loop"
    verbose_name = "Self-improvement loop"
    default_auto_field = "django.db.models.BigAutoField"
