"""The few H.264 and H.265 headers that say whether a stream's vectors can be trusted."""

from __future__ import annotations

from collections.abc import Iterator

from fluxshard_core.errors import InputError

H264_SLICES = (1, 2, 5)
H264_SPS = 7
HEVC_SPS = 33

# Profiles whose sequence parameter set carries the chroma and bit depth fields (H.264 7.3.2.1.1).
_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)


def nal_units(packet: bytes) -> Iterator[bytes]:
    """Yield the NAL units of an Annex B byte stream, header first, start codes removed."""
    start = packet.find(b"\x00\x00\x01")
    while start >= 0:
        following = packet.find(b"\x00\x00\x01", start + 3)
        unit = packet[start + 3 : following if following >= 0 else None].rstrip(b"\x00")
        if unit:
            yield unit
        start = following


def h264_vectors_point_to_previous(sps: bytes) -> bool:
    """Say whether a stream with this sequence parameter set predicts from one picture only.

    FFmpeg exports where a vector points but not which reference it uses. With one reference
    frame, no fields, and every picture a reference (the caller's to check), that reference is the
    picture before in coding and display order alike. A picture cropped at the left or top is
    refused too: its blocks would not be the image's. Syntax: ITU-T H.264, 7.3.2.1.1.

    :raises InputError: if the set ends early or holds values the standard does not allow.
    """
    bits = _Bits(sps[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.read(8)
    bits.read(16)  # constraint flags, level
    bits.unsigned()  # seq_parameter_set_id
    if profile in _HIGH_PROFILES:
        _skip_high_profile_fields(bits)
    bits.unsigned()  # log2_max_frame_num_minus4
    _skip_picture_order(bits)
    references = bits.unsigned()
    bits.read(1)  # gaps_in_frame_num_value_allowed_flag
    bits.unsigned()  # pic_width_in_mbs_minus1
    bits.unsigned()  # pic_height_in_map_units_minus1
    frames_only = bits.read(1)
    if not frames_only:
        return False
    bits.read(1)  # direct_8x8_inference_flag
    left = top = 0
    if bits.read(1):  # frame_cropping_flag
        left, _right, top, _bottom = (bits.unsigned() for _ in range(4))
    return references <= 1 and left == 0 and top == 0


def _skip_high_profile_fields(bits: _Bits) -> None:
    chroma = bits.unsigned()
    if chroma == 3:
        bits.read(1)  # separate_colour_plane_flag
    bits.unsigned()  # bit_depth_luma_minus8
    bits.unsigned()  # bit_depth_chroma_minus8
    bits.read(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.read(1):  # seq_scaling_matrix_present_flag
        for index in range(8 if chroma != 3 else 12):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _skip_picture_order(bits: _Bits) -> None:
    order_type = bits.unsigned()
    if order_type == 0:
        bits.unsigned()  # log2_max_pic_order_cnt_lsb_minus4
    elif order_type == 1:
        bits.read(1)  # delta_pic_order_always_zero_flag
        bits.signed()  # offset_for_non_ref_pic
        bits.signed()  # offset_for_top_to_bottom_field
        cycle = bits.unsigned()
        if cycle > 255:
            raise InputError(f"H.264 parameter set names a cycle of {cycle} pictures, at most 255")
        for _ in range(cycle):
            bits.signed()  # offset_for_ref_frame


class _Bits:
    """A reader of fixed and Exp-Golomb codes (ITU-T H.264, 9.1), most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise InputError("H.264 parameter set ends early; the packet is damaged or cut")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def unsigned(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise InputError("H.264 parameter set holds a code longer than 32 bits")
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        code = self.unsigned()
        return (code + 1) // 2 if code % 2 else -(code // 2)
