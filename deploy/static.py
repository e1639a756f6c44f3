"""Static files under ASGI: whitenoise's headers and ranges, with the body read at once instead of streamed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticMiddleware(WhiteNoiseMiddleware):
    """Serves the applications' static files; all are small, and Django buffers synchronous streams anyway."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        """The file, or 304 or 206 as the request's headers ask."""
        answer = static_file.get_response(request.method, request.META)
        body = b""
        if answer.file is not None:
            with answer.file as handle:
                body = handle.read()
        response = HttpResponse(body, status=answer.status)
        del response.headers["Content-Type"]
        for name, value in answer.headers:
            response.headers[name] = value
        return response
