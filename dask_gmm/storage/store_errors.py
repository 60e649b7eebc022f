"""What an error of a store means: whether another try may succeed, and which exception tells of it.

The clients of stores are optional, so their errors are recognised by what they carry, not by class.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from dask_gmm.errors import DataError, StoreError, StoreMissingError, StoreRefusedError, StoreUnfitError

#: "passing": another try may succeed. "refused": credentials or rights are not sufficient. "missing": there
#: is no such object. "lasting": it stays until someone acts. "unfit": the place cannot be what is asked.
Verdict = Literal["passing", "refused", "missing", "lasting", "unfit"]

_CLIENTS = {
    "adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "http", "obstore", "requests",
    "s3fs", "urllib", "urllib3",
}  # fmt: skip
# Below 500 an answer of HTTP is about the request, except: too late, too early, too often.
_PASSING_STATUS = {408, 425, 429}
# S3 says some of this under status 400.
_PASSING_CODE = re.compile(r"SlowDown|RequestTimeout$|Throttl|RequestLimitExceeded")
_STATUS_IN_WORDS = re.compile(r"status code: (\d{3})\b")
_CODE_IN_WORDS = re.compile(r"<Code>(\w+)</Code>")
# Errors of clients that are raised before any server has answered.
_REFUSED = re.compile(r"PermissionDenied|Unauth(enticated|orized)|Credential|NoRegion|InvalidRegion|Login")
_MISSING = re.compile(r"^(Resource)?NotFound(Error)?$")
_LASTING = re.compile(r"Checksum")
_UNFIT = re.compile(r"Config|Validation|Unsupported|NotSupported|InvalidURL|InvalidPath")
# A full disk, say: another try soon does not help.
_LASTING_NUMBERS = {errno.EDQUOT, errno.ENOLCK, errno.ENOSPC}
# A path that cannot be what is asked of it, however often that is tried.
_UNFIT_NUMBERS = {
    errno.EEXIST, errno.EFBIG, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.ENOTEMPTY, errno.EROFS,
}  # fmt: skip

#: The exception for each verdict.
STORE_ERRORS: Mapping[Verdict, type[StoreError]] = {
    "passing": StoreError,
    "lasting": StoreError,
    "unfit": StoreUnfitError,
    "refused": StoreRefusedError,
    "missing": StoreMissingError,
}


def verdict(error: BaseException) -> Verdict | None:
    """Return what an error means for another try; None if it is not one of a store."""
    if isinstance(error, (DataError, StoreError)):
        return None
    causes = list(_causes(error))
    for judge in (_by_answer, _by_name, _by_system):
        for cause in causes:
            found = judge(cause)
            if found is not None:
                return found
    return "passing" if any(map(_of_client, causes)) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    # Not the context: what failed before, and was dealt with, says nothing.
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _by_answer(error: BaseException) -> Verdict | None:
    """Judge by what a server answered."""
    status, code = _answer(error)
    if status is None:
        return None
    if status >= 500 or status in _PASSING_STATUS or _PASSING_CODE.search(code):
        return "passing"
    return "missing" if status in (404, 410) else "refused"


def _answer(error: BaseException) -> tuple[int | None, str]:
    """Return the status of HTTP that a server answered with, and the code of the store's own."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = str(response.get("Error", {}).get("Code", ""))
        return _as_status(status) or _as_status(code), code
    # aiohttp's parser gives what it cannot read the code with which a server would refuse it.
    if not _of_client(error) or type(error).__module__ == "aiohttp.http_exceptions":
        return None, ""
    found: list[Any] = [getattr(error, name, None) for name in ("status", "status_code", "code")]
    found.append(getattr(response, "status_code", None))
    text = str(error)
    # obstore has the status in its text only.
    found += _STATUS_IN_WORDS.findall(text)
    return next(filter(None, map(_as_status, found)), None), next(iter(_CODE_IN_WORDS.findall(text)), "")


def _as_status(value: Any) -> int | None:
    number = int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else 0
    return number if 300 <= number < 600 else None


def _by_name(error: BaseException) -> Verdict | None:
    """Judge errors of clients that are not about an answer."""
    if not _of_client(error):
        return None
    names = [cls.__name__ for cls in type(error).__mro__ if cls.__module__ != "builtins"]
    rules: tuple[tuple[re.Pattern[str], Verdict], ...] = (
        (_MISSING, "missing"),
        (_REFUSED, "refused"),
        (_LASTING, "lasting"),
        (_UNFIT, "unfit"),
    )
    return next((found for pattern, found in rules if any(map(pattern.search, names))), None)


def _by_system(error: BaseException) -> Verdict | None:
    """Judge errors of the operating system, and those that clients make look like it."""
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, PermissionError):
        return "refused"
    if isinstance(error, (ConnectionError, TimeoutError)):
        return "passing"
    # Without a number it is a library's complaint about the content.
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _UNFIT_NUMBERS:
            return "unfit"
        return "lasting" if error.errno in _LASTING_NUMBERS else "passing"
    return None


def _of_client(error: BaseException) -> bool:
    return any(cls.__module__.split(".")[0] in _CLIENTS for cls in type(error).__mro__)
