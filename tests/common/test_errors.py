import errno
import os

import pytest

from frih.common.errors import UserError, describe


def failure(number, *names):
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("a: is wrong"), "a: is wrong"),
        (failure(errno.ENOSPC, "/a/b"), "/a/b: No space left on device; make room there, then go on; what was written"),
        (failure(errno.EDQUOT, "/a/b"), "/a/b: Disk quota exceeded; make room there, then go on; what was written"),
        (failure(errno.EROFS, "a"), "a: Read-only file system; give the right to use it, or give another place"),
        (failure(errno.EACCES, "a"), "a: Permission denied; give the right to use it, or give another place"),
        (failure(errno.EIO, "a"), "a: Input/output error; the disk or the connection to it fails"),
        (failure(errno.EISDIR, "a", None, "b"), "a: Is a directory (for b)"),
        (OSError("as Pillow says it"), "as Pillow says it"),
    ],
)
def test_messages(error, message):
    assert describe(error).startswith(message)
