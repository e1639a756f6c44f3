"""Django application: governance."""

from __future__ import annotations

from django.apps import AppConfig


class GovernanceConfig(AppConfig):
    """Registers the `governance` application."""

    name = "governance"
    verbose_name = "Governance"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the admin's pages and have failed sign-ins recorded."""
        from django.contrib.auth.signals import user_login_failed

        from governance.desk import admin  # noqa: F401  (registers its pages)
        from governance.desk.signin import on_login_failed

        user_login_failed.connect(on_login_failed, dispatch_uid="governance.sign_in")
