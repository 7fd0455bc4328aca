"""The newest frame wins, drops are counted, and closing wakes the worker."""

import threading

from fluxshard_core.newest import NewestSlot


def test_the_newest_item_replaces_the_waiting_one_and_is_counted() -> None:
    slot: NewestSlot[int] = NewestSlot()
    assert not slot.ready()
    for item in range(5):
        slot.put(item)
    assert slot.ready()
    assert slot.take() == 4
    assert not slot.ready()
    assert slot.dropped == 4
    assert slot.take(timeout_s=0.01) is None


def test_every_item_is_taken_or_counted_as_dropped() -> None:
    slot: NewestSlot[int] = NewestSlot()
    taken: list[int] = []

    def work() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)

    worker = threading.Thread(target=work)
    worker.start()
    for item in range(2000):
        slot.put(item)
    while not taken or taken[-1] != 1999:
        pass
    slot.close()
    worker.join(5)
    assert not worker.is_alive()
    assert taken == sorted(taken)
    assert len(taken) + slot.dropped == 2000


def test_closing_wakes_a_waiting_worker_and_refuses_more() -> None:
    slot: NewestSlot[int] = NewestSlot()
    worker = threading.Thread(target=slot.take)
    worker.start()
    slot.close()
    worker.join(5)
    assert not worker.is_alive()
    slot.put(1)
    assert slot.take(0.01) is None
