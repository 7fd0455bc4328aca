"""CodecMotion on real streams: when the bitstream's vectors are used, and what goes wrong."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.motion.block_matching import BlockMatchingMotion
from fluxshard_core.motion.codec import CodecMotion, read_video

LOW_DELAY = {"tune": "zerolatency", "params": "ref=1:bframes=0"}
PAN = (4, 2)


def right(field, vector=PAN):
    """Return the share of blocks, away from the border, within a quarter pixel of ``vector``."""
    inner = field.vectors[1:-1, 1:-1] - np.multiply(4, vector)
    return ((np.abs(inner) <= 1).all(axis=-1) & field.valid[1:-1, 1:-1]).mean()


class CountingEstimator(BlockMatchingMotion):
    """Block matching that counts the pictures it saw."""

    seen = 0

    def next(self, image, /):
        self.seen += 1
        return super().next(image)


def test_a_low_delay_stream_gives_a_picture_per_packet_without_the_estimator(pan, encode):
    estimator = CountingEstimator()
    source = CodecMotion("h264", estimator=estimator)
    images = pan(PAN, 4)
    for image, packet in zip(images, encode(images, **LOW_DELAY), strict=True):
        frame = source.next(packet)
        assert np.abs(frame.image.astype(int) - image).mean() < 3
    assert right(frame.field) > 0.95
    assert not source.estimated
    assert estimator.seen == 0


def test_the_pictures_are_the_ones_the_vectors_belong_to(pan, encode):
    source = CodecMotion("h264")
    frames = [source.next(packet) for packet in encode(pan(PAN, 3), **LOW_DELAY)]
    predicted = frames[1].image[:-2, :-4].astype(int)
    assert np.abs(frames[2].image[2:, 4:] - predicted).mean() < 3


def test_skipped_blocks_keep_their_predicted_vector(pan, encode):
    still = pan((0, 0), 1) * 4
    source = CodecMotion("h264")
    fields = [source.next(packet).field for packet in encode(still, **LOW_DELAY)]
    assert fields[3].valid.all()
    assert not fields[3].vectors.any()


@pytest.mark.parametrize(
    ("encoder", "codec", "options"),
    [
        ("libx264", "h264", {"params": "ref=4:bframes=0", "tune": "zerolatency"}),
        ("libx264", "h264", {"params": "ref=1:bframes=2:b-adapt=0"}),
        ("libx264", "h264", {"params": "ref=3:bframes=4:b-adapt=0:b-pyramid=normal"}),
        ("libx264", "h264", {"params": "ref=1:bframes=0:crop-rect=8,4,0,0"}),
        ("libx265", "hevc", {"tune": "zerolatency"}),
        ("libx265", "hevc", {"params": "bframes=3:b-adapt=0"}),
    ],
    ids=["references", "B-frames", "pyramid", "crop", "hevc", "hevc B-frames"],
)
def test_ambiguous_streams_are_estimated_and_right(pan, encode, encoder, codec, options):
    estimator = CountingEstimator()
    source = CodecMotion(codec, estimator=estimator)
    images = pan(PAN, 9)
    frames = [f for p in encode(images, encoder, **options) for f in source.decode(p)]
    assert source.estimated
    frames += source.flush()
    assert len(frames) == len(images) == estimator.seen
    assert not frames[0].field.valid.any()
    for frame in frames[1:]:
        assert right(frame.field) > 0.9


def test_a_picture_that_is_no_reference_makes_the_rest_estimated(pan, encode):
    packets = encode(pan(PAN, 5), **LOW_DELAY)
    # nal_ref_idc 0 in the third picture's slice header: the fourth may no longer refer to it.
    start = packets[2].rindex(b"\x00\x00\x01") + 3
    packets[2] = packets[2][:start] + bytes([packets[2][start] & 0x9F]) + packets[2][start + 1 :]
    source = CodecMotion("h264", estimator=BlockMatchingMotion())
    fields = [source.next(packet).field for packet in packets]
    assert source.estimated
    assert right(fields[1]) > 0.95
    assert not fields[2].valid.any()


@pytest.mark.parametrize("size", [(70, 118), (128, 192), (98, 130)])
def test_the_field_covers_the_cropped_picture_not_the_coded_one(pan, encode, size):
    source = CodecMotion("h264")
    images = pan(PAN, 3, size=size)
    for packet in encode(images, **LOW_DELAY):
        frame = source.next(packet)
        assert frame.image.shape[:2] == size
        frame.field.check_image(*size)
    assert right(frame.field) > 0.95


def test_a_stream_joined_in_the_middle_waits_for_a_key_frame(pan, encode):
    packets = encode(pan(PAN, 6), **LOW_DELAY, g="3")
    source = CodecMotion("h264")
    frames = [frame for packet in packets[1:] for frame in source.decode(packet)]
    assert len(frames) == 3
    assert not frames[0].field.valid.any()
    assert right(frames[2].field) > 0.95
    with pytest.raises(InputError, match="completed 0 pictures, not one"):
        CodecMotion("h264").next(packets[1])


def test_a_new_resolution_in_the_stream_starts_over(pan, encode):
    small, large = pan(PAN, 2, size=(64, 96)), pan(PAN, 2)
    source = CodecMotion("h264")
    packets = encode(small, **LOW_DELAY) + encode(large, **LOW_DELAY)
    frames = [frame for packet in packets for frame in source.decode(packet)] + source.flush()
    assert [frame.image.shape[:2] for frame in frames] == [(64, 96)] * 2 + [(128, 192)] * 2
    assert not frames[2].field.valid.any()
    assert right(frames[3].field) > 0.95


def test_a_damaged_packet_is_an_error_and_the_next_picture_is_not_trusted(pan, encode):
    packets = encode(pan(PAN, 4), **LOW_DELAY)
    source = CodecMotion("h264")
    source.next(packets[0])
    with pytest.raises(InputError, match="h264 packet cannot be decoded"):
        source.decode(b"\x00\x00\x01\x61" + b"\xff" * 8)
    assert not source.next(packets[1]).field.valid.any()
    assert right(source.next(packets[2]).field) > 0.95


@pytest.mark.parametrize("damage", ["a lost slice", "a lost half"])
def test_a_concealed_picture_is_not_trusted_and_the_next_one_is(pan, encode, damage):
    low_delay = {"tune": "zerolatency", "params": "ref=1:bframes=0:slices=4"}
    packets = encode(pan(PAN, 4), **low_delay)
    whole = packets[2]
    cut = whole.rindex(b"\x00\x00\x01") if damage == "a lost slice" else len(whole) // 2
    packets[2] = whole[:cut]
    source = CodecMotion("h264")
    fields = [source.next(packet).field for packet in packets]
    assert right(fields[1]) > 0.95
    assert not fields[2].valid.any()
    assert right(fields[3]) > 0.95


def test_after_a_lost_packet_the_vectors_relate_the_pictures_returned(pan, encode):
    packets = encode(pan(PAN, 5), **LOW_DELAY)
    source = CodecMotion("h264")
    frames = [source.next(packet) for packet in (packets[:2] + packets[3:])]
    for before, after in pairwise(frames):
        assert right(after.field) > 0.95
        predicted = before.image[:-2, :-4].astype(int)
        assert np.abs(after.image[2:, 4:] - predicted).mean() < 3


def test_an_empty_packet_is_refused():
    with pytest.raises(InputError, match="packet is empty"):
        CodecMotion("h264").decode(b"")


def test_an_unknown_codec_is_refused():
    with pytest.raises(InputError, match="codec is 'vp9'; motion can be read from h264, hevc"):
        CodecMotion("vp9")


def test_time_stamps_follow_their_pictures_through_reordering(pan, encode):
    images = pan(PAN, 7)
    packets = encode(images, params="bframes=2:b-adapt=0:ref=1")
    source = CodecMotion("h264")
    order = [0, 3, 1, 2, 6, 4, 5]  # what x264 codes first with two B-frames between P-frames
    frames = [f for p, at in zip(packets, order, strict=True) for f in source.decode(p, at * 10)]
    frames += source.flush()
    assert [frame.pts for frame in frames] == [0, 10, 20, 30, 40, 50, 60]


def write_video(path, images, encoder, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=25, options={"crf": "8", **options})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_files_of_any_container_give_every_picture_with_its_motion(tmp_path, pan, suffix, encoder):
    path = tmp_path / f"pan.{suffix}"
    images = pan(PAN, 6)
    quiet = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    write_video(path, images, encoder, **quiet)
    frames = list(read_video(path, estimator=BlockMatchingMotion()))
    assert len(frames) == len(images)
    for frame in frames[1:]:
        assert right(frame.field) > 0.9


def test_files_that_hold_no_usable_video_are_refused(tmp_path, pan):
    with pytest.raises(InputError, match="cannot be read as video"):
        list(read_video(tmp_path / "missing.mp4"))
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(InputError, match="cannot be read as video"):
        list(read_video(noise))
    old = tmp_path / "old.avi"
    with av.open(str(old), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(pan((0, 0), 1, size=(64, 64))[0], format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="is mpeg4 video; motion can be read from h264, hevc"):
        list(read_video(old))
