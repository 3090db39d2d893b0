import errno
import os

import pytest

from videogen_cli.errors import DiskError
from videogen_cli.files import atomic_dir, atomic_path, disk_errors, write_text


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["x.txt"]


def test_a_full_disk_is_a_disk_error_that_names_the_file(tmp_path):
    with pytest.raises(DiskError, match=r"out\.bin"), disk_errors(tmp_path / "out.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_that_cannot_be_made_is_a_disk_error_too():
    with pytest.raises(DiskError, match="/proc/vgen"):
        write_text("/proc/vgen/x.txt", "text")


def test_other_os_errors_pass_through(tmp_path):
    with pytest.raises(BlockingIOError), disk_errors(tmp_path):
        raise OSError(errno.EAGAIN, "try again")


def test_folders_appear_whole_or_not_at_all(tmp_path):
    target = tmp_path / "step-1"
    with atomic_dir(target) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(RuntimeError), atomic_dir(target) as folder:
        (folder / "b").write_text("2")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["step-1"] and os.listdir(target) == ["a"]
