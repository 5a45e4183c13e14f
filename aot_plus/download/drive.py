"""Opens files on Google Drive, which shows a confirmation page for large files; gdown parses that page."""

from collections.abc import Mapping

import requests

from aot_plus.download.fetch import is_page, open_url
from aot_plus.utils.errors import DataError

__all__ = ["DRIVE", "open_drive"]

DRIVE = "https://drive.google.com/uc"
_PAGES = 5  # in a row; one is usual


def open_drive(
    session: requests.Session, drive_id: str, headers: Mapping[str, str], drive: str
) -> requests.Response:
    """Requests a file by its id, following the confirmation pages.

    Raises ``DataError`` with the text of a page that leads no further: too many people have downloaded the
    file, it is gone, or it is private.
    """
    url = f"{drive}?id={drive_id}&export=download"
    for _ in range(_PAGES):
        response = open_url(session, url, headers)
        if not is_page(response):
            return response
        with response:
            url = _confirmation(response)
    raise DataError(f"Google Drive answered with {_PAGES} pages instead of the file")


def _confirmation(response: requests.Response) -> str:
    """Finds the confirmation link on a page. If there is none, raises ``DataError`` with the page's text."""
    from gdown.download import get_url_from_gdrive_confirmation
    from gdown.exceptions import FileURLRetrievalError

    try:
        return str(get_url_from_gdrive_confirmation(response.text))
    except FileURLRetrievalError as error:
        status = "" if response.ok else f" ({response.status_code} {response.reason})"
        words = " ".join(str(error).split())
        raise DataError(f"Google Drive answered with a page instead of the file{status}: {words}") from error
