"""Video files by PyAV: frames upright and one at a time, written again with their times; sound packets as they are."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from PIL import Image

from frih.common.errors import UserError
from frih.common.wording import printable
from frih.harmonizing.video import WRITTEN
from frih.harmonizing.video_colours import BT601, Colours, Planes

_CODEC = "libx264"
_HDR = 16, 18
"""Transfer curves of high dynamic range (PQ, HLG), as FFmpeg numbers them."""

_NO_VIDEO = "is no video that FFmpeg reads; give a video, or export it again"


class Frame(NamedTuple):
    """A frame, upright."""

    planes: Planes
    pts: int
    """When it is shown, in units of the stream's time base."""
    seconds: float
    """The same as a time."""


class VideoReader:
    """A video file: what its first frame tells, then its frames.

    Raises:
        UserError: it is no video, is damaged, or is interlaced or HDR.
        OSError: the file, which the error names, cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reading(path, _NO_VIDEO):
            self.container = av.open(f"file:{path.absolute()}")
        with ExitStack() as on_error:
            on_error.callback(self.container.close)
            self.video = self.container.streams.best("video")
            if self.video is None:
                raise UserError(f"{path}: has no video stream; give a file with moving images")
            self.video.thread_type = "AUTO"
            self.sound = list(self.container.streams.audio)
            self._items = self._demuxed()
            ahead: list[Any] = []  # sound up to the first frame, and the frame
            for item in self._items:
                ahead.append(item)
                if isinstance(item, av.VideoFrame):
                    break
            else:
                raise UserError(f"{path}: holds no frame that FFmpeg decodes; export it again")
            self._items = chain(ahead, self._items)
            first = ahead[-1]
            self._check(first)
            self._shape = first.width, first.height
            self.turns = round(first.rotation / 90) % 4
            """Quarters by which frames are turned, counterclockwise."""
            self.size = self._shape if self.turns % 2 == 0 else self._shape[::-1]
            """Width and height, upright."""
            self.colours = _colours(first)
            self.rate = self.video.average_rate or Fraction(25)
            on_error.pop_all()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def frames(self, on_sound: Callable[[Any], None] = lambda packet: None) -> Iterator[Frame]:
        """The frames in order, each when it is asked for.

        Args:
            on_sound: takes the packets of sound between them.
        """
        base, last = self.video.time_base, None
        step = max(1, round(1 / (self.rate * base)))
        for item in self._items:
            if not isinstance(item, av.VideoFrame):
                on_sound(item)
                continue
            if (item.width, item.height) != self._shape:
                raise UserError(
                    f"{self.path}: changes its size midway, to {item.width} x {item.height}; export it again"
                )
            pts = item.pts if item.pts is not None else 0 if last is None else last + step
            pts = pts if last is None else max(pts, last + 1)  # damaged times, put in order
            y, cb, cr = (np.rot90(plane, self.turns) for plane in _planes(item))
            yield Frame((y, cb, cr), pts, float(pts * base))
            last = pts

    def _demuxed(self) -> Iterator[Any]:
        """Frames of the video and packets of sound, in the file's order."""
        with _reading(self.path, "is damaged; export it again"):
            for packet in self.container.demux(self.video, *self.sound):
                if packet.stream is self.video:
                    yield from packet.decode()
                elif packet.size > 0:  # not the empty packet at the end
                    yield packet

    def _check(self, frame: Any) -> None:
        if frame.interlaced_frame:
            raise UserError(f"{self.path}: is interlaced; make it progressive, as by ffmpeg -i IN -vf bwdif OUT")
        if self.video.codec_context.color_trc in _HDR:
            raise UserError(
                f"{self.path}: has high dynamic range (HDR), which the network does not know; export it as SDR"
            )


class VideoWriter:
    """Writes frames as H.264, and the sound of the video they come from without a change.

    Range, matrix, primaries, shape of pixels, times and metadata are those of the source. Leaving the ``with`` block completes
    the file.

    Args:
        part: the file to write.
        name: its name in the end, whose suffix says the format.
        source: of frames and sound.
        crf: quality, 0 (best) to 51 (worst).

    Raises:
        UserError: the format cannot hold the sound, or PyAV has no encoder.
        OSError: the file, which the error names, cannot be written.
    """

    def __init__(self, part: Path, name: Path, source: VideoReader, crf: float) -> None:
        if _CODEC not in av.codecs_available:
            raise UserError(
                f"PyAV {av.__version__}: has no encoder {_CODEC}; install the wheel of PyPI: pip install av"
            )
        self.name, self.source = name, source
        format_ = WRITTEN[name.suffix.lower()]
        options = {} if format_ == "matroska" else {"movflags": "+faststart"}  # a page plays it while it loads
        video, given = source.video, source.video.codec_context
        self.container = av.open(str(part.absolute()), "w", format=format_, container_options=options)
        with ExitStack() as on_error:
            on_error.callback(self.container.close)
            self.container.metadata.update(source.container.metadata)
            self._start = Fraction(max(0, source.container.start_time or 0), av.time_base)  # below 0 is a codec's lead
            self._video = self.container.add_stream(_CODEC, rate=source.rate, options={"crf": f"{crf:g}"})
            self._video.width, self._video.height = source.size
            self._video.pix_fmt = "yuv444p" if source.size[0] % 2 or source.size[1] % 2 else "yuv420p"
            context = self._video.codec_context
            context.time_base = video.time_base
            context.colorspace, context.color_range = source.colours.matrix, 2 if source.colours.full else 1
            context.color_primaries, context.color_trc = given.color_primaries, given.color_trc
            if aspect := video.sample_aspect_ratio:
                context.sample_aspect_ratio = 1 / aspect if source.turns % 2 else aspect
            self._sound = {}
            for stream in source.sound:
                try:
                    copy = self.container.add_stream_from_template(stream)
                except ValueError:
                    raise UserError(
                        f"-o {name}: cannot hold the sound of {source.path} ({stream.name}); take .mkv"
                    ) from None
                copy.metadata.update(stream.metadata)
                self._sound[stream.index] = copy
            on_error.pop_all()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self._writing():
                    self.container.mux(self._video.encode(None))
                    self.container.close()
        finally:  # after an error, the file is of no use
            with suppress(av.FFmpegError):
                self.container.close()

    def write(self, frame: Frame, planes: Planes) -> None:
        """Adds a frame with new planes, at the time of the old."""
        made = av.VideoFrame(*self.source.size, self._video.pix_fmt)
        for plane, values in zip(made.planes, planes, strict=True):
            if values.shape != (plane.height, plane.width):  # an odd size
                values = np.asarray(
                    Image.fromarray(values).resize((plane.width, plane.height), Image.Resampling.BILINEAR)
                )
            np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width] = values
        made.time_base = self.source.video.time_base
        made.pts = frame.pts - round(self._start / made.time_base)
        with self._writing():
            self.container.mux(self._video.encode(made))

    def copy(self, packet: Any) -> None:
        """Adds a packet of sound."""
        offset = round(self._start / packet.time_base)
        packet.pts = packet.pts if packet.pts is None else packet.pts - offset
        packet.dts = packet.dts if packet.dts is None else packet.dts - offset
        packet.stream = self._sound[packet.stream.index]
        with self._writing():
            self.container.mux(packet)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(self.name)) from None
            raise UserError(f"-o {self.name}: FFmpeg cannot write it ({error.strerror}); take .mkv") from None


def count_frames(path: Path) -> int:
    """About the number of frames that a video shows, without decoding it. A damaged or cut video may show fewer.

    Raises:
        UserError, OSError: as :class:`VideoReader`.
    """
    with _reading(path, _NO_VIDEO), av.open(f"file:{path.absolute()}") as container:
        video = container.streams.best("video")
        if video is None:
            raise UserError(f"{path}: has no video stream; give a file with moving images")
        return sum(packet.size > 0 and not packet.is_discard for packet in container.demux(video))


@contextmanager
def _reading(path: Path, fault: str) -> Iterator[None]:
    """Gives errors of PyAV the name of the file."""
    try:
        yield
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise UserError(f"{path}: {fault} ({printable(error.strerror)})") from None


def _planes(frame: Any) -> Planes:
    """The planes of a frame, brought to 8 bits and to chroma of half the size."""
    if _is_rgb(frame):
        frame.colorspace, frame.color_range = 2, 0  # unknown: FFmpeg then makes BT.601 of 16..235
    plain = "yuvj420p" if frame.format.name.startswith("yuvj") else "yuv420p"
    y, cb, cr = (
        np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width]
        for plane in (frame if frame.format.name == plain else frame.reformat(format=plain)).planes
    )
    return y, cb, cr


def _colours(frame: Any) -> Colours:
    """How :func:`_planes` of a frame are to be understood."""
    if _is_rgb(frame):
        return Colours(BT601, full=False)
    return Colours(int(frame.colorspace), full=frame.format.name.startswith("yuvj") or int(frame.color_range) == 2)


def _is_rgb(frame: Any) -> bool:
    """Whether a frame is RGB, has a palette or is grey; none of these has Y'CbCr's matrix and range."""
    return len(frame.format.components) < 3 or frame.format.is_rgb or frame.format.has_palette
