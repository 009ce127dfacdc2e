"""Which language a page is written in: its reader's; what machines read is in English."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers

# The API's texts are part of its contract.
_OF_MACHINES = ("/v4", "/health/", "/metrics")


def speak_the_readers(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Make the middleware: the browser's first language of those that there are."""

    def respond(request: HttpRequest) -> HttpResponse:
        if request.path.startswith(_OF_MACHINES):
            return get_response(request)
        with translation.override(translation.get_language_from_request(request)):
            response = get_response(request)
        patch_vary_headers(response, ("Accept-Language",))
        return response

    return respond
