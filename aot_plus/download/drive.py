"""Files on Google Drive, which asks people to confirm large ones on a page; gdown reads that page."""

from collections.abc import Mapping

import requests

from aot_plus.download.fetch import is_page, open_url, refuse
from aot_plus.utils.errors import DataError

__all__ = ["DRIVE", "open_drive"]

DRIVE = "https://drive.google.com/uc"
_PAGES = 5  # in a row; one is usual


def open_drive(
    session: requests.Session, drive_id: str, headers: Mapping[str, str], drive: str = DRIVE
) -> requests.Response:
    """Asks for a file by its id, through the pages of confirmation.

    Raises ``DataError`` with what a page says that leads no further: too many people have fetched the file,
    it is gone, or it is private.
    """
    url = f"{drive}?id={drive_id}&export=download"
    for _ in range(_PAGES):
        response = open_url(session, url, headers)
        if not is_page(response):
            return response
        with response:
            refuse(response)
            url = _confirmation(response.text)
    raise DataError(f"Google Drive answered with {_PAGES} pages instead of the file")


def _confirmation(page: str) -> str:
    """Finds the address that confirms. Raises ``DataError`` with the page's words if there is none."""
    from gdown.download import get_url_from_gdrive_confirmation
    from gdown.exceptions import FileURLRetrievalError

    try:
        return str(get_url_from_gdrive_confirmation(page))
    except FileURLRetrievalError as error:
        words = " ".join(str(error).split())
        raise DataError(f"Google Drive answered with a page instead of the file: {words}") from error
