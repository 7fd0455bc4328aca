"""The codec that brings the blocks soonest is taken, by what was learned of each."""

from __future__ import annotations

import pytest

from fluxshard_core.offload.codec_choice import CodecChooser

CODECS = ("h264", "webp", "jpeg", "raw")
SLOW, FAST = 0.2e6, 1e9  # bytes per second


def test_slow_links_take_small_codecs_and_fast_ones_quick_codecs() -> None:
    chooser = CodecChooser(CODECS)
    assert chooser.choose(500, SLOW) == "h264"
    assert chooser.choose(500, FAST) == "raw"


def test_the_estimate_is_coding_and_transfer() -> None:
    chooser = CodecChooser(("raw",))
    assert chooser.expected_bytes("raw", 100) == 76_800
    still = chooser.expected_ms("raw", 100, 1e12)
    assert chooser.expected_ms("raw", 100, 76_800.0) == pytest.approx(1000.0 + still)


def test_a_codec_that_turns_out_slow_is_left_for_another() -> None:
    chooser = CodecChooser(CODECS)
    for _ in range(20):
        chooser.encoded("h264", 500, encode_ms=400.0, size=18_000)
    assert chooser.choose(500, SLOW) != "h264"


def test_slow_decoding_counts_as_slow_encoding_does() -> None:
    chooser = CodecChooser(CODECS)
    for _ in range(20):
        chooser.decoded("h264", 500, decode_ms=400.0)
    assert chooser.choose(500, SLOW) != "h264"


def test_payloads_larger_than_expected_are_expected_next_time() -> None:
    chooser = CodecChooser(("webp",))
    for _ in range(30):
        chooser.encoded("webp", 200, encode_ms=4.0, size=50_000)
    assert chooser.expected_bytes("webp", 200) == pytest.approx(50_000, rel=0.01)
    assert chooser.expected_bytes("webp", 400) == pytest.approx(100_000, rel=0.05)


def test_frames_without_blocks_can_be_learned_from() -> None:
    chooser = CodecChooser(CODECS)
    for name in CODECS:
        chooser.encoded(name, 0, encode_ms=0.0, size=0)
        assert chooser.expected_ms(name, 0, SLOW) >= 0
    assert chooser.expected_bytes("raw", 100) == 76_800
