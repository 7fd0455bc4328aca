"""Headers: which streams' vectors point to the previous picture, and damaged ones."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.motion.bitstream import (
    H264_SPS,
    h264_vectors_point_to_previous,
    nal_units,
)


@pytest.fixture
def parameter_set(pan, encode):
    """Return ``make(size, **options) -> bytes``: the H.264 parameter set x264 writes."""

    def make(size=(64, 64), **options):
        packet = encode(pan((1, 0), 1, size=size), "libx264", **options)[0]
        return next(unit for unit in nal_units(packet) if unit[0] & 0x1F == H264_SPS)

    return make


LOW_DELAY = "ref=1:bframes=0"


@pytest.mark.parametrize(
    ("options", "trusted"),
    [
        ({"params": LOW_DELAY}, True),
        ({"params": LOW_DELAY, "profile": "baseline"}, True),
        ({"params": f"{LOW_DELAY}:cqm=jvt"}, True),
        ({"params": LOW_DELAY, "pix_fmt": "yuv444p"}, True),
        ({"params": LOW_DELAY, "pix_fmt": "yuv420p10le"}, True),
        ({"params": f"{LOW_DELAY}:crop-rect=0,0,16,16"}, True),
        ({"params": f"{LOW_DELAY}:crop-rect=4,0,0,0"}, False),
        ({"params": f"{LOW_DELAY}:crop-rect=0,2,0,0"}, False),
        ({"params": f"{LOW_DELAY}:interlaced=1"}, False),
        ({"params": "ref=2:bframes=0"}, False),
        ({"params": "ref=1:bframes=2"}, False),
    ],
    ids=lambda value: str(value),
)
def test_only_one_progressive_uncropped_reference_is_trusted(parameter_set, options, trusted):
    assert h264_vectors_point_to_previous(parameter_set(**options)) is trusted


def test_a_size_that_is_no_multiple_of_16_is_trusted(parameter_set):
    sps = parameter_set((70, 118), params=LOW_DELAY)
    assert h264_vectors_point_to_previous(sps)


def test_units_are_found_behind_long_and_short_start_codes():
    packet = b"\x00\x00\x00\x01\x67ab\x00\x00\x01\x68c\x00\x00\x00\x01\x65d"
    assert list(nal_units(packet)) == [b"\x67ab", b"\x68c", b"\x65d"]
    assert list(nal_units(b"no start code")) == []


def test_a_cut_parameter_set_is_an_error_that_says_so(parameter_set):
    sps = parameter_set(params=LOW_DELAY)
    with pytest.raises(InputError, match="ends early"):
        h264_vectors_point_to_previous(sps[:5])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_give_an_answer_or_an_input_error(data):
    list(nal_units(data))
    with contextlib.suppress(InputError):
        assert h264_vectors_point_to_previous(b"\x67" + data) in (True, False)
