import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import append, is_part, locked, made, naming, whole_file, write_whole

HOLDER = """
import os, pathlib, sys, time
from frih.common.files import locked
with locked(pathlib.Path(sys.argv[1])):
    if len(sys.argv) > 2:
        print(os.fork() or "", flush=True)
    else:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder():
    """Starts a process that holds the lock on a path; with "fork", one that has a child process too."""
    started = []

    def start(path, *how):
        command = [sys.executable, "-c", HOLDER, os.fspath(path), *how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = [process.stdout.readline().strip() for _ in range(1 + len(how))]
        started.append((process, [int(line) for line in lines if line]))
        return process

    yield start
    for process, others in started:
        process.kill()
        process.wait()
        process.stdout.close()
        for other in others:
            if other != process.pid:
                os.kill(other, signal.SIGKILL)


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "öld \udcff")
    with whole_file(path, durable=True) as file:
        file.write(b"new")
        assert path.read_text(encoding="utf-8") == r"öld \udcff"
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


@pytest.mark.parametrize("kind", [None, "JPEG", "TIFF"])
def test_a_full_disk_leaves_the_old_file(tmp_path, full_disk, kind):
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    full_disk(is_part)

    def write():
        with whole_file(path) as file:
            if kind:  # for which Pillow has errors of its own if it can write to the disk itself
                Image.new("RGB", (9, 9)).save(file, kind, compression="tiff_lzw")
            else:
                file.write(b"something longer than the room there is")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_writers_name_their_file_on_a_full_disk(tmp_path, full_disk):
    (tmp_path / "log").symlink_to("/dev/full")
    full_disk(lambda path: path.name == ".lock")
    for path, write in (
        (tmp_path / "log", lambda path: append(path, "x")),
        (tmp_path / ".lock", lambda path: locked(path).__enter__()),
    ):
        with pytest.raises(OSError, match="No space left") as caught:
            write(path)
        assert caught.value.filename == str(path)


def test_what_has_a_name_keeps_it(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path / "a"):
        (tmp_path / "b").read_bytes()
    assert caught.value.filename == str(tmp_path / "b")
    with pytest.raises(OSError, match=r"^truncated$"), naming(tmp_path / "a"):
        raise OSError("truncated")
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "nowhere/a", "")
    assert caught.value.filename == str(tmp_path / "nowhere/a")  # and not the part's name
    (tmp_path / "c").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path / "c", "")
    assert caught.value.filename == str(tmp_path / "c")


def test_appended_text(tmp_path):
    append(tmp_path / "a", "é\n")
    append(tmp_path / "a", "b\n")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "é\nb\n"


def test_a_killed_writer_leaves_a_part_that_is_known_as_one(tmp_path):
    path = tmp_path / "a.txt"
    code = (
        "import os, sys, pathlib; from frih.common.files import write_whole\n"
        "pathlib.Path.replace = lambda *names: os.kill(os.getpid(), 9)\n"
        "write_whole(pathlib.Path(sys.argv[1]), 'half')"
    )
    assert subprocess.run([sys.executable, "-c", code, os.fspath(path)], check=False).returncode == -9
    [part] = tmp_path.iterdir()
    assert is_part(part)


def test_a_lock_keeps_others_out_and_leaves_nothing(tmp_path):
    path = tmp_path / ".lock"
    with locked(path):
        with pytest.raises(UserError, match=rf"{tmp_path}: process {os.getpid()} on .* is at work there; wait"):
            locked(path).__enter__()
        assert path.exists()
    assert not path.exists()
    with pytest.raises(ValueError, match="mine"), locked(path):
        raise ValueError("mine")
    with locked(path), locked(tmp_path / "another"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_ends_with_its_process(tmp_path, holder):
    path = tmp_path / ".lock"
    process = holder(path)
    with pytest.raises(UserError, match=f"process {process.pid} on"):
        locked(path).__enter__()
    process.kill()
    process.wait()
    assert path.exists()
    with locked(path):
        pass


def test_a_lock_ends_with_its_process_though_a_child_lives_on(tmp_path, holder):
    path = tmp_path / ".lock"
    process = holder(path, "fork")
    process.kill()
    process.wait()
    with locked(path):
        pass


def test_a_forked_process_does_not_end_the_lock(tmp_path):
    path = tmp_path / ".lock"
    child = 0
    try:
        with locked(path):
            child = os.fork()
            if not child:
                raise SystemExit
            os.waitpid(child, 0)
            with pytest.raises(UserError, match=f"process {os.getpid()} on"):
                locked(path).__enter__()
    except SystemExit:
        os._exit(0)
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / ".lock"):
        (tmp_path / "work").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_a_lock_where_none_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), locked(tmp_path / "file/.lock"):
        pass


def test_made_folders_stay_only_if_something_is_in_them(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError), made(tmp_path / "there/a/b"):
        raise UserError("refused")
    assert list((tmp_path / "there").iterdir()) == []
    with made(tmp_path / "there"):
        pass
    with made(tmp_path / "there/a/b"):
        (tmp_path / "there/a/c").touch()
    assert [path.name for path in (tmp_path / "there/a").iterdir()] == ["c"]
