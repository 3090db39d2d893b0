"""Reading: every file is read whole, or refused with the reason. Writing: whole or not at all, and it reads back."""

import os
import resource
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from videogen_cli.data import decoding
from videogen_cli.data.video import check_video, read_video, strip_to_frames, write_video
from videogen_cli.errors import DataError, DiskError

SHAPE = (12, 48, 64, 3)


def moving_bar(count=12, height=48, width=64):
    """Frames that all differ, so that a lost, doubled or swapped one shows."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, number * 4 : number * 4 + 8] = (255, 255, 255)
        frame[: height // 2, -4:] = (255, 0, 0)
    return frames


def encode(path, frames, *, codec="libx264", times=None, rotation=0, pix_fmt="yuv420p", rate=8, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={k.replace("_", "-"): v for k, v in options.items()})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        tick = stream.codec_context.time_base = Fraction(1, 1000 if times else rate)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = times[number] if times else number, tick
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    # SVT-AV1 makes a thread of root's that calls it a real-time one, which would starve other threads ever after.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return path


def bar_positions(frames):
    return [int(np.argmax(frame[-8, :, 1] > 128)) for frame in frames]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", {}),
        ("b-frames.mp4", {"bf": "3"}),
        ("ten-bit.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le", "x265_params": "log-level=none"}),
        ("vp9.webm", {"codec": "libvpx-vp9"}),
        ("vp8-with-hidden-frames.webm", {"codec": "libvpx", "auto_alt_ref": "1", "lag_in_frames": "8"}),
        ("av1.mp4", {"codec": "libsvtav1"}),
        ("mpeg4.avi", {"codec": "mpeg4"}),
        ("transport.ts", {}),
        ("matroska.mkv", {}),
        ("uneven.mp4", {"times": [0, 10, 400, 410, 420, 900, 1000, 1500, 1510, 1600, 1700, 2000]}),
        ("rotated.mp4", {"rotation": 90}),
    ],
)
@pytest.mark.parametrize("checked", [False, True])
def test_every_frame_of_every_kind_of_file(tmp_path, monkeypatch, name, options, checked):
    source = moving_bar()
    encode(tmp_path / name, source, **options)
    clip = read_video(tmp_path / name, checked=checked)
    frames = np.rot90(clip.frames, -1, axes=(1, 2)) if "rotation" in options else clip.frames
    assert frames.shape == SHAPE and clip.total == 12
    assert bar_positions(frames) == pytest.approx(bar_positions(source), abs=1)
    some = read_video(tmp_path / name, num_frames=3, start=2, stride=4, checked=checked)
    assert np.array_equal(some.frames, clip.frames[[2, 6, 10]])
    assert check_video(tmp_path / name).total == 12


def test_the_fast_decoder_agrees_far_into_a_file(tmp_path, monkeypatch):
    pytest.importorskip("decord")
    path = str(encode(tmp_path / "long.mp4", moving_bar(200, 48, 832), bf="2", g="30"))
    wanted = decoding.Wanted(20, start=150, stride=2)
    fast = decoding._decode_with_decord(path, wanted, 200)
    assert fast is not None
    assert np.array_equal(fast.frames, decoding.decode(path, wanted).frames)
    assert np.array_equal(fast.frames, decoding.decode(path, wanted, checked=True).frames)


def test_rotation_turns_the_right_way(tmp_path):
    """An angle is counter-clockwise (the display matrix of ffmpeg): what was at the right goes to the top."""
    frames = np.zeros((4, 48, 64, 3), np.uint8)
    frames[:, :, 48:] = 255
    clip = read_video(encode(tmp_path / "r.mp4", frames, rotation=90))
    assert (clip.width, clip.height) == (48, 64)
    assert clip.frames[0, :12].mean() > 250 and clip.frames[0, 20:].mean() < 5


@pytest.mark.parametrize("position", [0.0, 0.5, 0.999])
def test_a_position_leaves_enough_frames(tmp_path, position):
    path = encode(tmp_path / "a.mp4", moving_bar())
    first = bar_positions(read_video(path, num_frames=4, stride=2, position=position).frames)[0] // 4
    assert first == pytest.approx(position * 5, abs=1)


def test_stills_and_animations(tmp_path):
    frames = moving_bar()
    Image.fromarray(frames[0]).save(tmp_path / "still.png")
    still = read_video(tmp_path / "still.png")
    assert np.array_equal(still.frames, frames[:1]) and still.fps == 0
    write_video(tmp_path / "moving.gif", frames, fps=10)
    moving = read_video(tmp_path / "moving.gif")
    assert np.array_equal(moving.frames, frames) and moving.fps == pytest.approx(10)


def spoiled(folder):
    """Return bad files by what the error must say of them."""
    good = encode(folder / "good.mp4", moving_bar())
    data = good.read_bytes()
    middle = data.index(b"mdat") + 1000  # after the settings that x264 writes as text
    contents = {
        "web page": b"<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>",
        "zero bytes": b"",
        "text": b"#EXTM3U\n#EXTINF:10,\nhttp://example.com/a.ts\n",
        "cut short": data[:-100],
        "bytes are missing": data[: len(data) // 2],
        "cannot be decoded": np.random.default_rng(0).bytes(5000),
        "damaged": data[:middle] + bytes(200) + data[middle + 200 :],
    }
    for reason, content in contents.items():
        path = folder / f"{reason.replace(' ', '-')}.mp4"
        path.write_bytes(content)
        yield reason, path
    (folder / "a folder.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    yield "is a folder", folder / "a folder.mp4"
    yield "not a regular file", folder / "pipe.mp4"
    yield "no such file", folder / "missing.mp4"
    yield "no picture", audio_only(folder / "sound.mp4")
    webm = encode(folder / "whole.webm", moving_bar(60, 48, 320), codec="libvpx-vp9").read_bytes()
    (folder / "cut.webm").write_bytes(webm[: int(len(webm) * 0.7)])
    yield "cut short", folder / "cut.webm"
    avi = encode(folder / "whole.avi", moving_bar(60, 48, 320), codec="mpeg4").read_bytes()
    (folder / "cut.avi").write_bytes(avi[: int(len(avi) * 0.6)])
    yield "cut short", folder / "cut.avi"
    gif = write_video(folder / "whole.gif", moving_bar()).read_bytes()
    (folder / "cut.gif").write_bytes(gif[:-300])
    yield "cut short", folder / "cut.gif"
    Image.fromarray(moving_bar()[0]).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:-40])
    yield "damaged image", folder / "cut.png"


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def test_every_bad_file_says_what_is_wrong(tmp_path):
    for reason, path in spoiled(tmp_path):
        for read in (read_video, check_video):
            with pytest.raises(DataError) as caught:
                print(reason, path, read(path).total)
            assert reason in str(caught.value).replace("(zero bytes)", "zero bytes"), (path, str(caught.value))
            assert caught.value.where == str(path)


def test_damage_hardly_ever_passes_for_frames(tmp_path):
    """Cuts and flipped bits: refused, or the frames are what they were.

    h264 has no checksums and an edit list may leave frames out, so a flip that spells another valid file passes:
    3 in 100 (measured over 1,500 trials), and never a cut.
    """
    data = encode(tmp_path / "good.mp4", moving_bar()).read_bytes()
    whole = read_video(tmp_path / "good.mp4").frames
    draw = np.random.default_rng(0)
    refused = other = 0
    for trial in range(60):
        spoilt = bytearray(data)
        if cut := trial % 3 == 0:
            del spoilt[int(draw.integers(8, len(data))) :]
        else:
            for _ in range(3):
                spoilt[int(draw.integers(len(data)))] ^= 1 << int(draw.integers(8))
        (tmp_path / "bad.mp4").write_bytes(spoilt)
        try:
            frames = read_video(tmp_path / "bad.mp4", timeout=10).frames
            assert not cut
            other += not np.array_equal(frames, whole)
        except DataError:
            refused += 1
    assert refused >= 30 and other <= 4  # flips that change nothing are neither; their number is up to the encoder


def test_too_few_frames_is_an_error_with_numbers(tmp_path):
    path = encode(tmp_path / "a.mp4", moving_bar())
    with pytest.raises(DataError, match="has 12 frames, 15 are needed"):
        read_video(path, num_frames=8, stride=2)


def test_a_hanging_decoder_is_a_data_error(monkeypatch, tmp_path):
    from videogen_cli.data import guarded

    real = guarded.call
    monkeypatch.setattr(guarded, "call", lambda name, timeout, **_: real("signal:pause", timeout))
    with pytest.raises(DataError, match=r"not decoded within 0\.2 s"):
        read_video(tmp_path / "a.mp4", timeout=0.2)


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (63, 61), (2, 2), (1, 1)])
def test_mp4_keeps_the_size(tmp_path, size):
    frames = np.full((5, *size, 3), (0, 0, 255), np.uint8)
    clip = read_video(write_video(tmp_path / "a.mp4", frames, fps=8))
    assert clip.frames.shape == (5, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert clip.fps == pytest.approx(8) and np.abs(clip.frames.astype(int) - (0, 0, 255)).max() < 4


@pytest.mark.parametrize("format", ["gif", "npy"])
def test_formats_that_lose_nothing(tmp_path, format):
    frames = np.concatenate([moving_bar(), moving_bar()[-1:], moving_bar()[-1:]])  # ends with a standstill
    path = write_video(tmp_path / "a", frames, format=format)
    assert path.suffix == f".{format}" and np.array_equal(read_video(path).frames, frames)


def test_png_is_a_strip(tmp_path):
    frames = moving_bar()
    strip = read_video(write_video(tmp_path / "a.png", frames)).frames[0]
    assert strip.shape == (48, 64 * 12, 3) and np.array_equal(strip_to_frames(strip, 12), frames)


def test_what_is_no_video_is_not_written(tmp_path):
    for frames in (np.zeros((3, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)):
        with pytest.raises(DataError, match="cannot be a video"):
            write_video(tmp_path / "a.mp4", frames)
    with pytest.raises(DataError, match="avi"):
        write_video(tmp_path / "a.avi", moving_bar())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["mp4", "gif", "npy"])
def test_a_full_disk_is_a_disk_error_and_leaves_the_old_file(tmp_path, format):
    target = tmp_path / f"a.{format}"
    target.write_bytes(b"before")
    code = f"""
import numpy as np
from videogen_cli.data.video import write_video
from videogen_cli.errors import DiskError
try:
    write_video({str(target)!r}, np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3), np.uint8))
except DiskError as error:
    print("disk error:", error)
"""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit, timeout=60, check=False
    )
    assert done.stdout.startswith("disk error:"), done.stderr
    assert target.read_bytes() == b"before" and list(tmp_path.iterdir()) == [target]
    assert DiskError.code == 8


@pytest.mark.parametrize("size", [5, 20, 60, 100, 2000])
def test_a_damaged_array_is_a_data_error(tmp_path, size):
    path = write_video(tmp_path / "a.npy", moving_bar(4, 8, 48))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="no array file"):
        read_video(path)
    np.save(path, np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match="holds no frames"):
        read_video(path)
