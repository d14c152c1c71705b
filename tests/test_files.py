import os
import subprocess
import sys

import pytest

from frih.files import is_part, whole_file, write_whole


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "öld")
    with whole_file(path, durable=True) as file:
        file.write(b"new")
        assert path.read_text(encoding="utf-8") == "öld"
        [part] = [one for one in tmp_path.iterdir() if one != path]
        assert is_part(part)
        assert not is_part(path)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    write_whole(path, b"old")

    def begin():
        with whole_file(path) as file:
            file.write(b"ne")
            raise error

    with pytest.raises(error):
        begin()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path, full_disk):
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    full_disk(is_part)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"something longer than the room there is")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_a_part_that_is_known_as_one(tmp_path):
    path = tmp_path / "a.txt"
    code = (
        "import os, sys, pathlib; from frih.files import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, os.fspath(path)], check=False).returncode == -9
    [part] = tmp_path.iterdir()
    assert is_part(part)
