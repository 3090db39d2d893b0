import errno
import os
import subprocess
import sys

import pytest

from videogen_cli.errors import DiskError
from videogen_cli.files import atomic_dir, atomic_path, disk_errors, exclusive, require_space, size_text, write_text


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


def test_a_size_is_said_in_powers_of_ten():
    said = {0: "0 B", 999: "999 B", 1000: "1.0 kB", 99_940: "99.9 kB", 468_600_000: "469 MB", 999_960_000: "1.0 GB"}
    assert {count: size_text(count) for count in said} == said
    assert size_text(7_403_991_936) == "7.4 GB" and size_text(12 * 10**12) == "12.0 TB"


def test_what_does_not_fit_is_not_begun(tmp_path):
    require_space(tmp_path / "not" / "there", 1, "for a file", "Free some.")
    with pytest.raises(DiskError, match=r"needs 1,000,000\.0 TB for a file, and .* are free"):
        require_space(tmp_path / "not" / "there", 10**18, "for a file", "Free some.")


def test_a_lock_is_held_by_one_and_given_back(tmp_path):
    path, waited = tmp_path / "deep" / "lock", []
    with exclusive(path, lambda: waited.append(1)):
        other = f"from filelock import FileLock\nFileLock({str(path)!r}).acquire(timeout=0)"
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and "Timeout" in done.stderr
    with exclusive(path, lambda: waited.append(1)):
        assert not waited
