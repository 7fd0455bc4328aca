"""The recorder of a demo: what is lost on the way costs its own image and no other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32
from vision_msgs.msg import Detection2DArray

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_msgs.msg import FrameStats, InstanceMasks
from fluxshard_ros.demo_answers import MOST_PENDING, Answers
from fluxshard_ros.demo_recorder import DemoRecorder
from fluxshard_ros.image_conversion import message_of_rgb
from fluxshard_ros.qos import LATCHED, PICTURES, RESULTS
from fluxshard_ros.stamps import header_of

PARTS = ("detections", "masks", "overlay", "stats")  # in the order the edge publishes them


def numbers(answers: Answers, arrivals: list[tuple[str, int]]) -> list[int]:
    """Add parts whose message is the image's number; return the images handed out, in order."""
    done = []
    for part, number in arrivals:
        for parts in answers.add(part, number, number):
            assert set(parts) >= answers.wanted
            assert len(set(parts.values())) == 1, "parts of different images"
            done.append(parts["stats"])
    return done


def test_topics_may_run_ahead_of_each_other_and_nothing_is_skipped() -> None:
    answers = Answers(set(PARTS))
    by_topic = [(part, number) for part in PARTS for number in range(MOST_PENDING)]
    assert numbers(answers, by_topic) == list(range(MOST_PENDING))
    assert answers.skipped == 0


@pytest.mark.parametrize("part", PARTS)
def test_a_lost_message_is_known_to_be_lost_once_its_topic_brings_a_later_one(part: str) -> None:
    answers = Answers(set(PARTS))
    arrivals = [(p, n) for n in range(4) for p in PARTS if (p, n) != (part, 1)]
    assert numbers(answers, arrivals) == [0, 2, 3]
    assert (answers.skipped, dict(answers.lost)) == (1, {part: 1})


def test_what_comes_of_an_image_given_up_is_not_another_image() -> None:
    answers = Answers({"stats", "overlay"})
    arrivals = [("overlay", 0), ("stats", 1), ("stats", 0), ("overlay", 1), ("overlay", 0)]
    assert numbers(answers, arrivals) == [1]
    answers.finish()
    assert answers.skipped == 1


def test_a_topic_that_falls_silent_keeps_a_bounded_number_waiting() -> None:
    answers = Answers({"stats", "overlay"})
    last = 3 * MOST_PENDING - 1
    assert numbers(answers, [("stats", number) for number in range(last + 1)]) == []
    assert answers.skipped == 2 * MOST_PENDING
    assert numbers(answers, [("overlay", last)]) == [last], "it goes on when the topic does"


def test_what_still_waits_at_the_end_is_counted() -> None:
    answers = Answers({"stats", "overlay"})
    assert numbers(answers, [("stats", 1), ("overlay", 1), ("stats", 2), ("stats", 3)]) == [1]
    answers.finish()
    assert (answers.skipped, dict(answers.lost)) == (2, {"overlay": 2})


@pytest.fixture
def recorder(observer: Any, tmp_path: Path) -> Iterator[DemoRecorder]:
    """The node, spun by the observer, in the observer's namespace."""
    node = DemoRecorder(observer.get_namespace(), tmp_path, 10.0)
    observer.spin_too(node)
    yield node
    node.destroy_node()


def test_a_picture_that_is_lost_is_missing_from_the_recording_and_said(
    observer: Any, recorder: DemoRecorder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of six images the second's overlay never comes, nor the last one's statistics."""
    kinds = {
        "detections": (Detection2DArray, RESULTS),
        "instance_masks": (InstanceMasks, RESULTS),
        "overlay": (Image, PICTURES),
        "frame_stats": (FrameStats, RESULTS),
    }
    publishers = {t: observer.create_publisher(k, t, q) for t, (k, q) in kinds.items()}
    played = observer.create_publisher(UInt32, "frames_played", LATCHED)
    everyone = [*publishers.values(), played]
    observer.spin_until(lambda: all(p.get_subscription_count() for p in everyone))
    observer.spin_until(recorder.hears_edge)
    scene = GeneratedScene(height=64, width=96, count=6)
    for number in range(6):
        header = header_of(1000 + number, "camera")
        for topic, publisher in publishers.items():
            if (topic, number) in (("overlay", 1), ("frame_stats", 5)):
                continue
            picture = message_of_rgb(scene.render(number), header)
            publisher.publish(picture if topic == "overlay" else kinds[topic][0](header=header))
        played.publish(UInt32(data=number + 1))
    observer.spin_until(lambda: recorder.frames_in == 6 and recorder.frames_ended == 5)
    recorder.close()
    lines = [json.loads(line) for line in (tmp_path / "detections.jsonl").open()]
    assert [line["stamp"]["nanosec"] for line in lines] == [1000, 1002, 1003, 1004]
    with av.open(str(tmp_path / "annotated.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4
    assert recorder.frames_incomplete == 2
    said = capfd.readouterr().err
    assert "recorded 4 of 6 images; 2 missing, messages lost: " in said
    assert "1 of overlay, 1 of stats" in said
