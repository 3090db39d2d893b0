import numpy as np
import pytest

from videogen_cli.data import motion_vectors
from videogen_cli.data.motion_vectors import MotionClip, motion_condition, read_motion, sampling_rate, sparse_field
from videogen_cli.data.video import write_video
from videogen_cli.errors import DataError


@pytest.mark.parametrize(
    ("frames", "fps", "rate"), [(42, 20, 8), (160, 16, 4), (80, 16, 4), (64, 16, 5), (79, 15.7, 4)]
)
def test_short_clips_are_sampled_faster(frames, fps, rate):
    assert sampling_rate(frames, fps) == rate


@pytest.mark.parametrize(("frames", "fps"), [(0, 8), (10, 0), (10, float("nan"))])
def test_clips_without_duration_are_refused(frames, fps):
    with pytest.raises(DataError, match="no clip can be made"):
        sampling_rate(frames, fps)


def test_vectors_point_the_way_the_content_moved():
    table = np.array(
        [
            [-1, 16, 16, 4, 5, 8, 8, -8, 4, 4],  # of a past frame
            [1, 16, 16, 4, 5, 3, 2, -8, 4, 4],  # of a future one
            [-1, 16, 16, 0, 0, 40, -3, 4, 0, 2],  # centred outside
        ]
    )
    field = sparse_field(table, 12, 16)
    np.testing.assert_array_equal(field[:, 8, 8], [2, -1])
    np.testing.assert_array_equal(field[:, 2, 3], [-2, 1])
    np.testing.assert_array_equal(field[:, 0, 15], [-2, 0])
    assert np.count_nonzero(field.any(0)) == 3


def test_frames_coded_alone_have_no_motion():
    assert not sparse_field(np.zeros((0, 10), np.int32), 4, 6).any()


def test_windows_begin_at_frames_coded_alone():
    clip = MotionClip(np.zeros((9, 2, 2, 3), np.uint8), np.array([1, 0, 0, 0, 1, 0, 1, 0, 0], bool), [])
    assert clip.starts(4).tolist() == [0, 4]
    assert clip.starts(10).tolist() == []


def test_fields_are_cut_not_scaled():
    fields = np.full((2, 2, 6, 10), 3.0, np.float32)
    fields[..., :2] = -9
    condition = motion_condition(fields, 3)
    assert condition.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(condition, 3, atol=1e-6)


def test_a_moving_square_moves_that_way(tmp_path):
    frames = np.zeros((24, 64, 96, 3), np.uint8)
    noise = np.random.default_rng(0).integers(60, 255, (24, 24, 3))
    for index in range(24):
        frames[index, 20:44, 3 * index // 2 : 3 * index // 2 + 24] = noise
    source, stream = write_video(tmp_path / "clip.mp4", frames, fps=8), tmp_path / "clip.m4v"
    motion_vectors.reencode(source, stream, 8)
    clip = read_motion(stream)
    assert clip.frames.shape == frames.shape
    assert clip.intra[0] and not clip.intra[1:12].any()
    field = clip.field(5)
    x, y = field[:, field.any(0)]
    assert np.median(x) == pytest.approx(1.5, abs=0.6)
    assert abs(np.median(y)) < 0.5
    assert clip.condition(0, 16, 32).shape == (16, 2, 32, 32)


def test_broken_files_are_named(tmp_path):
    path = tmp_path / "no.m4v"
    path.write_bytes(b"this is no video" * 40)
    with pytest.raises(DataError) as error:
        read_motion(path)
    assert str(path) in str(error.value.where)
    with pytest.raises(DataError, match="cannot be re-encoded"):
        motion_vectors.reencode(path, tmp_path / "out.m4v", 4)
    with pytest.raises(DataError, match="cannot be decoded"):
        read_motion(tmp_path / "absent.m4v")
