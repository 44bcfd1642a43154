"""Whether a server of weights can be reached, and what is said of one that cannot. Does not import torch."""

from __future__ import annotations

from http.client import HTTPException
from typing import cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from egotools.errors import first_line

REACH_SECONDS = 5.0


def check_reachable(url: str) -> None:
    """Checks within seconds what a download would try for minutes.

    Raises:
        OSError: the server does not answer.
    """
    try:
        urlopen(Request(url, method="HEAD"), timeout=REACH_SECONDS).close()
    except HTTPError as error:  # the server answers, which is all that is checked
        error.close()
    except HTTPException as error:
        raise OSError(f"no sensible answer: {error}") from error


def failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where something cannot be downloaded."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    # The errors of connections are those of whichever library it is built on, as the base of its own error.
    connecting = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    return (OSError, EntryNotFoundError, HTTPException, *connecting)


def reason(error: BaseException, missing: str = "it has no such file") -> str:
    """One of the `failures` in plain words: the library says them in many lines, of which the first is a number."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "access is on request: ask for it on its page, then log in with 'hf auth login'"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such model, or it is private: log in with 'hf auth login'"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return missing
    return first_line(error)
