"""Errors of the hub and its client, as one-line errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, errors
from huggingface_hub.utils import logging

from interpbench.errors import InterpbenchError, UsageError, first_line

TRANSPORT: Any = errors.HfHubHTTPError.__bases__[0]
"""Base class of the HTTP client's errors; the client differs between versions of `huggingface_hub`."""


@contextmanager
def hub_errors(repository: str, revision: str | None = None) -> Iterator[None]:
    """Turn errors of `huggingface_hub` into an InterpbenchError of one line, and hide its warnings."""
    where = repository + (f" at {revision[:12]}" if revision else "")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except errors.HFValidationError as error:
        raise UsageError(f"{repository!r} is not a valid name of a repository: {first_line(error)}") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        what = "not in the cache, and " if isinstance(error, errors.LocalEntryNotFoundError) else ""
        raise InterpbenchError(f"{where}: {what}{unreachable()}") from None
    except errors.RevisionNotFoundError:
        raise InterpbenchError(f"{repository} has no revision {revision}") from None
    except errors.RepositoryNotFoundError:
        raise InterpbenchError(f"{repository}: no such repository, or no right to it (`hf auth login`)") from None
    except errors.EntryNotFoundError as error:
        raise InterpbenchError(f"{where}: {first_line(error)}") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        rights = " (`hf auth login`)" if status in (401, 403) else ""
        raise InterpbenchError(f"{where}: the hub answers {status}{rights}: {first_line(error)}") from None
    except InterpbenchError:
        raise
    except Exception as error:  # proxies, addresses, certificates: the client raises errors of several packages
        raise InterpbenchError(f"{where}: {first_line(error)}") from None
    finally:
        logging.set_verbosity(verbosity)


def unreachable() -> str:
    """Why the hub does not answer."""
    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} cannot be reached"
