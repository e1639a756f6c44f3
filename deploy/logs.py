"""Logging: short lines on stderr for people, one JSON object a line in the data home for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import structlog

_CHATTY = ("httpx", "httpcore", "git", "asyncio", "optuna", "uvicorn.access", "uvicorn.error")
_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def logging_config(log_file: Path, level: str) -> dict[str, Any]:
    """Django's LOGGING value; also routes structlog's loggers through the standard library's handlers."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    lines = structlog.processors.JSONRenderer()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "console": _formatter([console]),
            "json": _formatter([structlog.processors.format_exc_info, lines]),
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "console"},
            "file": {
                "class": "logging.handlers.WatchedFileHandler",
                "filename": str(log_file),
                "formatter": "json",
                "delay": True,
                "encoding": "utf-8",
            },
        },
        "root": {"handlers": ["stderr", "file"], "level": level},
        "loggers": {
            **{name: {"level": "WARNING"} for name in _CHATTY},
            "django.security.DisallowedHost": {"handlers": [], "propagate": False},  # anyone can cause these
        },
    }


def _formatter(renderers: list[Any]) -> dict[str, Any]:
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        "foreign_pre_chain": _SHARED,
    }
