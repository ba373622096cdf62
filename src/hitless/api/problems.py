"""Errors as RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hitless.errors import HitlessError, UserError
from hitless.view.problem import problem_of, problem_of_unexpected

if TYPE_CHECKING:
    from starlette.requests import Request

    from hitless.view.models import ProblemView

MEDIA_TYPE = "application/problem+json"


class InvalidRequest(UserError):
    """A request to the API is malformed."""

    code = "HL2080"

    def __init__(self, faults: Sequence[Any]) -> None:
        super().__init__("the request is malformed", evidence=tuple(_sentence(fault) for fault in faults))


class NoSuchResource(UserError):
    """The API has nothing at this address, or not for this method."""

    code = "HL2081"
    http_status = 404


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(HitlessError)
    async def _known(_: Request, error: HitlessError) -> JSONResponse:
        return _response(problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def _malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return _response(problem_of(InvalidRequest(error.errors())))

    @app.exception_handler(HTTPException)
    async def _unrouted(request: Request, error: HTTPException) -> JSONResponse:
        problem = problem_of(NoSuchResource(f"{request.method} {request.url.path}: {error.detail}"))
        return _response({**problem, "status": error.status_code}, headers=error.headers)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> JSONResponse:
        return _response(problem_of_unexpected(error))  # Starlette raises it again afterwards, so that it is logged


def _response(problem: ProblemView, headers: Any = None) -> JSONResponse:
    return JSONResponse(problem, status_code=problem["status"], media_type=MEDIA_TYPE, headers=headers)


def _sentence(fault: Any) -> str:
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
