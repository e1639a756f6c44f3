"""Every address of the service."""

from __future__ import annotations

from importlib.util import find_spec

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [path("admin/", admin.site.urls)]
urlpatterns += [path("", include(name)) for name in ("governance.desk.urls", "loop.urls") if find_spec(name)]
