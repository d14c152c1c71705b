import errno
import os

import pytest

from frih.common.errors import UserError, describe, extra, need


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


def test_a_program_ends_where_the_import_of_an_extra_fails(capsys):
    with extra("train"):
        import json  # noqa: F401
    with pytest.raises(SystemExit) as end, extra("train"):
        import no_such_package.part  # noqa: F401
    assert end.value.code == 2
    assert capsys.readouterr().err == 'error: no_such_package: not installed; pip install ".[train]"\n'
    with pytest.raises(ModuleNotFoundError, match=r"frih\.no_such_module"), extra("train"):
        import frih.no_such_module  # noqa: F401
    with pytest.raises(UserError, match=r'^no_such_package, nor_this: not installed; pip install "\.\[hub\]"$'):
        need("json", "no_such_package", "nor_this", extra="hub")
