"""Videos of 12 frames, written by PyAV."""

import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.harmonizing.upsampling import Change
from frih.harmonizing.video import harmonize_video, is_video, natural, video_target

av = pytest.importorskip("av")

WIDTH, HEIGHT, FRAMES, RATE = 96, 64, 12, 24
INSIDE = slice(16, 48), slice(24, 72)


class Brighter:
    """Stands for a network: it adds 0.2 to every colour. It keeps what it saw."""

    findings = SimpleNamespace(strength=1.0)

    def __init__(self):
        self.seen = []

    def look(self, pixels, cover, name):
        self.seen.append((pixels, cover))
        flat = np.zeros((4, 4, 3))
        details = SimpleNamespace(composite=flat.astype(np.uint8), labels=np.ones((4, 4)), notes=("a note",))
        return details, Change(flat + 0.2, flat, np.zeros((4, 4, 3, 3)))


@pytest.fixture
def brighter():
    return Brighter()


def frames(count=FRAMES):
    """Grey frames whose level tells their number: 40, 50, ..."""
    return [np.full((HEIGHT, WIDTH, 3), 40 + 10 * number, np.uint8) for number in range(count)]


def write(
    path,
    images,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    times=None,
    base=Fraction(1, 24),
    sound=False,
    turned=0,
    full=False,
):
    """Writes a video; ``times`` are of its frames, in units of ``base``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options={"crf": "0"} if codec == "libx264" else {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = base
        if full:
            stream.codec_context.color_range = 2
        if turned:
            stream.set_display_rotation(turned)
        tone = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (times or range(len(images)))[number], base
            container.mux(stream.encode(frame))
        for block in range(4 if tone else 0):
            wave = np.sin(np.arange(1024 * block, 1024 * (block + 1)) * 0.3)[None].astype(np.float32)
            samples = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            samples.sample_rate, samples.pts = 8000, 1024 * block
            container.mux(tone.encode(samples))
        for stream_ in filter(None, (stream, tone)):
            container.mux(stream_.encode(None))
    return path


def read(path):
    """Frames as arrays of RGB, their times, and the packets of sound."""
    images, times, sound = [], [], []
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.stream.type == "audio" and packet.dts is not None:
                sound.append((packet.pts * packet.time_base, bytes(packet)))
            elif packet.stream.type == "video":
                for frame in packet.decode():
                    images.append(frame.to_ndarray(format="rgb24"))
                    times.append(frame.pts * frame.time_base)
    return images, times, sound


@pytest.fixture
def mask(tmp_path):
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[INSIDE] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_times_and_sound(tmp_path, mask, brighter, suffix):
    """Of a variable rate. Outside the mask, frames are equal (without the encoder's loss); inside, brighter by 51 levels."""
    times = [0, 1, 2, 6, 7, 8, 15, 16, 17, 18, 30, 31]
    given = write(tmp_path / f"in{suffix}", frames(), times=times, base=Fraction(1, 60), sound=True)
    done = harmonize_video(brighter, given, str(mask), tmp_path / f"new/out{suffix}", crf=0)
    assert (done.frames, done.empty, done.notes) == (FRAMES, 0, {"a note": FRAMES})
    before, shown, packets = read(given)
    after, shown_then, packets_then = read(tmp_path / f"new/out{suffix}")
    assert shown_then == shown
    assert float(shown[3]) == pytest.approx(0.1, abs=1e-3)
    assert len(packets) > 2
    assert packets_then == packets
    for one, other, level in zip(before, after, range(40, 160, 10), strict=True):
        assert np.abs(one.astype(int) - level).max() <= 2
        assert np.array_equal(one[:14], other[:14])
        inside = other[INSIDE].astype(int)
        assert np.abs(inside - one[INSIDE] - 51).max() <= 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"out{suffix}"]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "full"),
    [
        ("libx264", "yuv420p", ".mp4", True),
        ("libx264", "yuv444p", ".mp4", False),
        ("libx264", "yuv420p10le", ".mp4", False),
        ("ffv1", "gray", ".mkv", False),
        ("ffv1", "bgr0", ".avi", False),
        ("mjpeg", "yuvj422p", ".avi", False),
    ],
)
def test_kinds_of_colours(tmp_path, mask, brighter, codec, pix_fmt, suffix, full):
    """The network sees the frames' colours, and what is written shows them again."""
    images = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 2
    given = write(tmp_path / f"in{suffix}", images, codec=codec, pix_fmt=pix_fmt, full=full)
    harmonize_video(brighter, given, str(mask), tmp_path / "out.mp4", crf=0)
    level = (90 * 219 / 255 + 16) if full else 90  # the test's encoder takes the values for the full range as they are
    assert abs(int(brighter.seen[0][0][0, 0, 0]) - level) <= 2
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.format.name in ("yuvj420p",) or frame.color_range == 2) is (full or codec == "mjpeg")
    assert len(read(tmp_path / "out.mp4")[0]) == 2


def test_a_turned_video_becomes_upright(tmp_path, brighter):
    if not hasattr(av.VideoFrame, "rotation") or not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV writes no rotation")
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :32] = 200  # the left third; turned clockwise, it is the upper one
    given = write(tmp_path / "in.mp4", [image] * 2, turned=-90)
    Image.new("L", (HEIGHT, WIDTH), 255).save(tmp_path / "mask.png")
    harmonize_video(brighter, given, str(tmp_path / "mask.png"), tmp_path / "out.mp4", crf=0, strength=0)
    made = read(tmp_path / "out.mp4")[0][0]
    assert made.shape == (WIDTH, HEIGHT, 3)
    assert made[:28].min() > 190
    assert made[36:].max() < 10
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_odd_sizes(tmp_path, brighter):
    given = write(tmp_path / "in.mkv", [np.full((33, 65, 3), 90, np.uint8)] * 2, codec="ffv1")
    Image.new("L", (65, 33), 255).save(tmp_path / "mask.png")
    harmonize_video(brighter, given, str(tmp_path / "mask.png"), tmp_path / "out.mp4", crf=0)
    made = read(tmp_path / "out.mp4")[0][1]
    assert made.shape == (33, 65, 3)
    assert np.abs(made[:30, :60].astype(int) - 141).max() <= 2  # at the very edge, older PyAV writes other colours


def test_masks_of_each_frame(tmp_path, brighter):
    """A folder in natural order, and a lossy video: the n-th mask is of the n-th frame. Frames without foreground pass."""
    given = write(tmp_path / "in.mp4", frames())
    masks = [np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(FRAMES)]
    for number, one in enumerate(masks):
        one[:, : 8 * number] = 255  # the first is empty
    (tmp_path / "masks").mkdir()
    for number, one in enumerate(masks):
        Image.fromarray(one).save(tmp_path / f"masks/{number + 1}.png")
    write(tmp_path / "masks.mp4", [np.repeat(one[..., None], 3, axis=2) for one in masks])
    for source in ("masks", "masks.mp4"):
        brighter.seen.clear()
        done = harmonize_video(brighter, given, str(tmp_path / source), tmp_path / "out.mp4", crf=0)
        assert (done.frames, done.empty) == (FRAMES, 1)
        assert len(brighter.seen) == FRAMES - 1
        for (pixels, cover), expected, level in zip(brighter.seen, masks[1:], range(50, 160, 10), strict=True):
            assert abs(int(pixels[0, 0, 0]) - level) <= 2
            assert np.array_equal(cover, expected)
        made = read(tmp_path / "out.mp4")[0]
        assert np.abs(made[0].astype(int) - 40).max() <= 2
        assert np.abs(made[3][:, :20].astype(int) - 121).max() <= 2
    done = harmonize_video(brighter, given, str(tmp_path / "masks"), tmp_path / "out.mp4", invert_mask=True)
    assert done.empty == 0


def test_more_masks_than_frames_are_told(tmp_path, brighter, capsys):
    given = write(tmp_path / "in.mp4", frames(2))
    (tmp_path / "masks").mkdir()
    for number in range(3):
        Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / f"masks/{number}.png")
    harmonize_video(brighter, given, str(tmp_path / "masks"), tmp_path / "out.mp4")
    assert "has 3 masks for 2 frames" in capsys.readouterr().err


def test_a_count_too_high_refuses_no_masks(tmp_path, brighter, monkeypatch):
    """As of a stream that is cut within a group of pictures: it has packets without frames."""
    given = write(tmp_path / "in.mp4", frames(3))
    (tmp_path / "masks").mkdir()
    for number in range(3):
        Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / f"masks/{number}.png")
    monkeypatch.setattr("frih.harmonizing.video_files.count_frames", lambda path: 6)
    assert harmonize_video(brighter, given, str(tmp_path / "masks"), tmp_path / "out.mp4").frames == 3


def test_masks_of_another_size_are_resized_and_told_once(tmp_path, brighter, capsys):
    given = write(tmp_path / "in.mp4", frames(3))
    Image.new("L", (WIDTH // 2, HEIGHT // 2), 255).save(tmp_path / "mask.png")
    harmonize_video(brighter, given, str(tmp_path / "mask.png"), tmp_path / "out.mp4")
    assert [cover.shape for _, cover in brighter.seen] == [(HEIGHT, WIDTH)] * 3
    assert capsys.readouterr().err.count("mask.png: resized from 48 x 32 to 96 x 64, the size of") == 1


@pytest.mark.parametrize("wrong", [{"strength": 2}, {"seconds": float("nan")}, {"crf": 60}])
def test_numbers_out_of_range(tmp_path, brighter, wrong):
    with pytest.raises(UserError, match=f"^{next(iter(wrong))}: must be "):
        harmonize_video(brighter, tmp_path / "in.mp4", "mask.png", tmp_path / "out.mp4", **wrong)


WRONG = {
    "no file": ("none.mp4", "mask.png", OSError, "No such file"),
    "no video": ("text.mp4", "mask.png", UserError, "text.mp4: is no video that FFmpeg reads"),
    "no video stream": ("tone.mp4", "mask.png", UserError, "tone.mp4: has no video stream"),
    "few masks": (
        "in.mp4",
        "few",
        UserError,
        "few: has 1 mask, and .*in.mp4 has more frames .about 12.; give one a frame, or one image",
    ),
    "few frames of masks": ("in.mp4", "few.mp4", UserError, "few.mp4: has 3 masks, and .*more frames"),
    "no masks": ("in.mp4", "empty", UserError, "empty: has 0 masks, and .*more frames"),
    "another size": (
        "in.mp4",
        "small.png",
        UserError,
        "small.png: is 48 x 48 pixels but .*in.mp4 is 96 x 64; .* resize",
    ),
    "coloured masks": ("in.mp4", "coloured.mp4", UserError, "coloured.mp4, frame 1: is coloured"),
    "no foreground": ("in.mp4", "black.png", UserError, "black.png: has no foreground in any frame"),
    "no image": ("in.mp4", "text.png", UserError, "text.png: "),
}


@pytest.mark.parametrize(("video", "masks", "kind", "message"), WRONG.values(), ids=WRONG)
def test_errors_name_the_file_and_leave_nothing(tmp_path, mask, brighter, video, masks, kind, message):
    if "in.mp4" in video:
        write(tmp_path / "in.mp4", frames())
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "text.png").write_text("no image")
    if video == "tone.mp4":
        with av.open(str(tmp_path / "tone.mp4"), "w") as container:
            tone = container.add_stream("aac", rate=8000, layout="mono")
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate = 8000
            container.mux([*tone.encode(samples), *tone.encode(None)])
    for folder in ("few", "empty"):
        (tmp_path / folder).mkdir()
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "few/1.png")
    Image.new("L", (48, 48), 255).save(tmp_path / "small.png")
    Image.new("L", (WIDTH, HEIGHT), 0).save(tmp_path / "black.png")
    if masks == "few.mp4":
        write(tmp_path / "few.mp4", frames(3))
    if masks == "coloured.mp4":
        write(tmp_path / "coloured.mp4", [np.full((HEIGHT, WIDTH, 3), (200, 90, 30), np.uint8)] * FRAMES)
    (tmp_path / "out").mkdir()
    with pytest.raises(kind, match=message):
        harmonize_video(brighter, tmp_path / video, str(tmp_path / masks), tmp_path / "out/out.mp4")
    assert not list((tmp_path / "out").iterdir())


def test_stopping_leaves_nothing_and_an_older_result(tmp_path, mask, brighter, monkeypatch):
    given = write(tmp_path / "in.mp4", frames(), sound=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/out.mp4").write_bytes(b"older")
    look = brighter.look

    def stop(*arguments):
        if len(brighter.seen) == 5:
            raise KeyboardInterrupt
        return look(*arguments)

    monkeypatch.setattr(brighter, "look", stop)
    with pytest.raises(KeyboardInterrupt):
        harmonize_video(brighter, given, str(mask), tmp_path / "out/out.mp4")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "out").iterdir()] == [("out.mp4", b"older")]


def test_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setattr("frih.common.errors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'^av: not installed; pip install "\.\[video\]"$'):
        harmonize_video(Brighter(), tmp_path / "in.mp4", "mask.png", tmp_path / "out.mp4")


def test_smoothing_is_applied_at_the_frames_times(tmp_path, mask, brighter, monkeypatch):
    """Of a change that flickers between 0 and 0.2, the mean remains."""
    given = write(tmp_path / "in.mp4", [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * FRAMES)
    look = brighter.look

    def flicker(*arguments):
        details, change = look(*arguments)
        return details, change._replace(change=change.change * (len(brighter.seen) % 2))

    monkeypatch.setattr(brighter, "look", flicker)
    levels = {}
    for seconds in (0, 0.5):
        harmonize_video(brighter, given, str(mask), tmp_path / "out.mp4", crf=0, seconds=seconds)
        levels[seconds] = np.array([image[32, 48, 0] for image in read(tmp_path / "out.mp4")[0]], int)
    assert np.abs(np.diff(levels[0])).min() >= 48
    assert np.abs(np.diff(levels[0.5])).max() <= 5


def test_names():
    assert is_video("a/b.MP4")
    assert not is_video("a.png")
    assert sorted(["f10.png", "f2.png", "f1.png", "10.png", "g1.png"], key=natural) == [
        "10.png",
        "f1.png",
        "f2.png",
        "f10.png",
        "g1.png",
    ]


def test_where_the_result_goes(tmp_path):
    assert video_target(tmp_path / "a.mov", tmp_path) == tmp_path / "a.mov"
    assert video_target(tmp_path / "a.webm", tmp_path / "new") == tmp_path / "new/a.mp4"
    assert video_target(tmp_path / "a.mov", tmp_path / "b.mkv") == tmp_path / "b.mkv"
    with pytest.raises(UserError, match=r"b.webm: videos are written as .mp4, .m4v, .mov, .mkv; take one of these"):
        video_target(tmp_path / "a.mov", tmp_path / "b.webm")


def test_the_command(tmp_path, mask, small_config, monkeypatch, capsys):
    """With a network, from the command line: what is said, and that a result is kept."""
    from frih.cli import main
    from frih.models import build_model
    from frih.models.checkpoint import save_checkpoint
    from tests.conftest import no_weight_is_zero

    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, no_weight_is_zero(build_model(config)), {})
    given, out = write(tmp_path / "in.mp4", frames(3)), tmp_path / "out"

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["frih", "harmonize", str(given), str(mask), "-o", str(out), *options])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    status, said, _ = run("-w", str(tmp_path / "model.pt"))
    assert status == 0
    assert said.startswith(f"3 frames harmonized, in {out / 'in.mp4'}: ")
    assert said.endswith(" s\n")
    assert len(read(out / "in.mp4")[0]) == 3
    assert "kept, there already; --overwrite replaces it" in run()[1]
    for options, said in (
        (("--compare",), "--compare: is for images, not for a video"),
        (("--crf", "60"), "--crf: must be from 0"),
        (("--smooth", "-1"), "--smooth: must be 0 seconds"),
        (("--smooth", "nan"), "--smooth: must be 0 seconds"),
        (("-o", str(given)), "in.mp4: is the image itself"),
    ):
        status, _, told = run(*options)
        assert status == 2
        assert said in told
