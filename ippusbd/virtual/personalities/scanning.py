"""Scanners that misbehave; the first line of each class says which model does what."""

from __future__ import annotations

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.personalities.base import Personality


class ScanBodyNeverComes(Personality):
    """A scanner in the field: the bodies of its 201 and of a job's first page never come."""

    name = "scan-body-never-comes"

    def __init__(self) -> None:
        self._begun: set[str] = set()

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if not request.path.endswith("/NextDocument") or request.path in self._begun:
            return None
        self._begun.add(request.path)
        return _without_body(HttpResponse(200, [("Content-Type", "image/jpeg")]))

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return _without_body(response) if response.status == 201 else response


def _without_body(response: HttpResponse) -> HttpResponse:
    response.length, response.body = 4096, ()
    response.head_only = response.stuck = True
    return response
