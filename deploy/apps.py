"""Django application: deploy."""

from __future__ import annotations

from django.apps import AppConfig


class DeployConfig(AppConfig):
    """Registers the `deploy` application."""

    name = "deploy"
    verbose_name = "Deployment"
    default_auto_field = "django.db.models.BigAutoField"
