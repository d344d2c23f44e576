"""The pad without a browser: messages as its layer writes them. What the layer itself does is in `tests/browser`."""

import json
import re
import threading

import pytest

from ganlab.panels import Pad


@pytest.fixture
def heard():
    """A pad, what it has told, and a way to write into its hidden box what a page would."""
    events = []
    pad = Pad((300, 200), "where <it> is", events.append)
    return pad, events, lambda log, page="page": setattr(pad._told, "value", json.dumps([page, log]))


STROKE = [[1, "move", 0.1, 0.2], [2, "down", 0.1, 0.2], [3, "drag", 0.2, 0.2], [4, "drag", 0.3, 0.2],
          [5, "up", 0.4, 0.2], [6, "leave", 1, 0.2]]


def test_events_arrive_in_order_and_strokes_whole(heard):
    _, events, write = heard
    write(STROKE)
    assert [e.kind for e in events] == ["move", "down", "drag", "up", "leave"], "drags that come together are one"
    assert events[0] == ("move", 0.1, 0.2, ()) and events[1].stroke == ((0.1, 0.2),)
    assert events[2] == ("drag", 0.3, 0.2, ((0.1, 0.2), (0.2, 0.2), (0.3, 0.2)))
    assert events[3].stroke == ((0.1, 0.2), (0.2, 0.2), (0.3, 0.2), (0.4, 0.2)) and events[4].stroke == ()


@pytest.mark.parametrize("arriving", [[6], [1, 2, 3, 4, 5, 6], [2, 6], [1, 3, 5, 6], [3, 3, 6, 6]])
def test_whichever_messages_arrive_nothing_is_lost_or_told_twice(heard, arriving):
    _, events, write = heard
    for until in arriving:
        write(STROKE[:until])
    kinds = [e.kind for e in events]
    assert [k for k in kinds if k != "drag"] == ["move", "down", "up", "leave"]
    assert kinds.index("down") < kinds.index("drag") < kinds.index("up")
    assert next(e for e in events if e.kind == "up").stroke == ((0.1, 0.2), (0.2, 0.2), (0.3, 0.2), (0.4, 0.2))


def test_a_click_without_a_move_is_one_point(heard):
    _, events, write = heard
    write([[1, "down", 0.5, 0.5], [2, "up", 0.5, 0.5], [3, "down", 0.6, 0.5], [4, "up", 0.6, 0.5]])
    assert [e.kind for e in events] == ["down", "up", "down", "up"]
    assert events[1].stroke == ((0.5, 0.5),) and events[3].stroke == ((0.6, 0.5),)


def test_a_page_that_is_loaded_again_counts_anew(heard):
    _, events, write = heard
    write(STROKE)
    write([[1, "move", 0.7, 0.7]], page="another")
    assert events[-1] == ("move", 0.7, 0.7, ())
    write([[1, "move", 0.7, 0.7], [2, "move", 0.8, 0.7]], page="another")
    assert [e.x for e in events[-2:]] == [0.7, 0.8]


@pytest.mark.parametrize("message", ["", "nonsense", "[]", "3", '["page", 3]', '["page", [[1, "move"]]]',
                                     '["page", [3]]', '{"a": 1}'])
def test_what_is_no_message_is_no_event(heard, message):
    pad, events, write = heard
    pad._told.value = message
    assert events == []
    write([[1, "move", 0.5, 0.5]])
    assert len(events) == 1


def test_events_of_several_threads_come_one_at_a_time_and_once():
    inside, most, events = [], [], []

    def slowly(event):
        inside.append(event)
        most.append(len(inside))
        threading.Event().wait(0.002)
        events.append(event)
        inside.pop()

    pad = Pad((10, 10), "", slowly)
    logs = [[[n, "down", n / 100, 0] for n in range(1, until)] for until in range(2, 42)]
    threads = [threading.Thread(target=lambda log=log: pad._hear(json.dumps(["page", log]))) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and [e.x for e in events] == [n / 100 for n in range(1, 41)]


def test_the_layer_never_changes_and_has_the_size_of_the_picture(heard):
    pad, _, write = heard
    layer = pad.view.children[1]
    before = layer.value
    pad.image.value = b"another picture"
    write(STROKE)
    assert layer.value == before and "where &lt;it&gt; is" in before
    for part in (pad.image, layer, pad.view):
        assert (part.layout.width, part.layout.height) == ("300px", "200px")
    assert pad.image.layout.grid_area == layer.layout.grid_area
    assert pad._told.layout.display == "none"


def test_only_double_quotes_end_the_handler(heard):
    pad, _, _ = heard
    value = pad.view.children[1].value
    attributes = dict(re.findall(r'([a-z-]+)="([^"]*)"', value))
    assert set(attributes) == {"role", "aria-label", "onpointermove", "style"} and "<" not in value[1:].split("></")[0]
    assert set(re.findall(r"(on[a-z]+)='", value)) == {"onpointerdown", "onpointerup", "onpointercancel",
                                                       "onpointerleave"}


def test_two_pads_do_not_hear_each_other():
    a, b = Pad((10, 10), "a"), Pad((10, 10), "b")
    (name,), (other,) = a.view._dom_classes, b.view._dom_classes
    assert name != other and name in a.view.children[1].value and other not in a.view.children[1].value


def test_a_pad_without_anybody_who_listens():
    pad = Pad((10, 10), "a")
    pad._hear(json.dumps(["page", STROKE]))
