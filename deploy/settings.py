"""All settings of the service, in one file; what may vary comes from the environment (see deploy/env.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deploy import env, home
from deploy.logs import logging_config

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

REPO: Path = home.REPO
PAWL_HOME: Path = home.ensure_folders()
PAWL_HIDDEN: str = env.text("PAWL_HIDDEN")  # the hidden store's folder, for the verify worker's account alone

# --- security ---
DEBUG: bool = env.flag("PAWL_DEBUG", default=False)
SECRET_KEY: str = env.text("SECRET_KEY") or home.secret_key()
SECRET_KEY_FALLBACKS: list[str] = env.words(
    "SECRET_KEY_FALLBACKS"
)  # former keys: sessions and secrets of then are read
ALLOWED_HOSTS: list[str] = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS: list[str] = env.words("CSRF_TRUSTED_ORIGINS")
HTTPS: bool = env.flag("PAWL_HTTPS", default=False)
ON_LOCALHOST: bool = {*ALLOWED_HOSTS} <= {"localhost", "127.0.0.1", "[::1]"}
SECURE_SSL_REDIRECT: bool = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS: int = 31_536_000 if HTTPS else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_AGE = 8 * 3600  # seconds since the last sign-in or step-up
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE: bool = HTTPS or not ON_LOCALHOST  # under another name nobody signs in without HTTPS
CSRF_COOKIE_SECURE: bool = SESSION_COOKIE_SECURE
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20  # bytes

# --- application ---
INSTALLED_APPS: list[str] = [
    "deploy.apps.DeployConfig",
    "governance.apps.GovernanceConfig",
    "loop.apps.LoopConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "csp",
    "django_rq",
]
MIDDLEWARE: list[str] = [
    "django.middleware.security.SecurityMiddleware",
    "deploy.static.StaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "deploy.urls"
ASGI_APPLICATION = "deploy.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [REPO / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# --- accounts ---
AUTHENTICATION_BACKENDS: list[str] = ["governance.desk.authentication.ThrottledBackend"]
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "desk:login"
LOGIN_REDIRECT_URL = "desk:inbox"

# --- data ---
DATABASES: dict[str, dict[str, Any]] = {"default": env.database(home.database_file())}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- queues (JSON only: a pickle from the queue would be code from the queue) ---
REDIS_URL: str = env.text("REDIS_URL")
REDIS_SOCKET: Path = home.socket_folder() / "redis.sock"
_REDIS: dict[str, Any] = {"URL": REDIS_URL} if REDIS_URL else {"UNIX_SOCKET_PATH": str(REDIS_SOCKET), "DB": 0}
_QUEUE: dict[str, Any] = {**_REDIS, "SERIALIZER": "rq.serializers.JSONSerializer"}
RQ_QUEUES: dict[str, dict[str, Any]] = {
    "loop": {**_QUEUE, "DEFAULT_TIMEOUT": 3600},  # seconds
    "verify": {**_QUEUE, "DEFAULT_TIMEOUT": 3600},
    "train": {**_QUEUE, "DEFAULT_TIMEOUT": 24 * 3600},
}
RQ: dict[str, Any] = {"COMMIT_MODE": "on_db_commit"}

# --- the log's signer (docs/audit.md): PAWL_SIGNER_SOCKET names one that runs under its own user ---
SIGNER_EXTERNAL: bool = bool(env.text("PAWL_SIGNER_SOCKET"))
SIGNER_SOCKET: Path = Path(env.text("PAWL_SIGNER_SOCKET") or home.socket_folder() / "signer.sock")

# --- static files (served from the applications' folders; `collectstatic` is optional) ---
STATIC_URL = "static/"
STATIC_ROOT: Path = home.folder("static")
STATICFILES_DIRS: list[Path] = [folder for folder in [REPO / "static"] if folder.is_dir()]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# --- logs ---
LOG_LEVEL: str = env.text("PAWL_LOG_LEVEL", "INFO").upper()
LOGGING: dict[str, Any] = logging_config(home.folder("logs") / "pawl.log", LOG_LEVEL)

# --- command line: errors that end a command with one sentence instead of a traceback ---
CLI_ERRORS: tuple[str, ...] = (
    "governance.errors.GovernanceError",
    "loop.errors.LoopError",
    "deploy.services.ServiceError",
)
