"""What travels between grader and sandbox: comes back as it went, and nothing else is let in."""

import contextlib
import math
import socket
import time

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from course_utils.grading import protocol
from course_utils.grading.protocol import NotPlain, ProtocolError, pack, unpack
from course_utils.plain_data import same

ARRAYS = st.sampled_from(["bool", "u1", "i2", "i4", "i8", "u8", "f2", "f4", "f8", "U5"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=4))
)
TENSORS = st.sampled_from(["bool", "u1", "i2", "i8", "f4", "f8"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4)).map(torch.tensor)
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.tuples(st.integers(), st.text())
PLAIN = st.recursive(
    SCALARS | ARRAYS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_what_goes_in_comes_out(value):
    assert same(unpack(pack(value)), value)


@pytest.mark.parametrize("dtype", protocol.TENSOR_DTYPES.values(), ids=str)
def test_every_dtype_and_layout(dtype):
    tensor = torch.arange(24).reshape(2, 3, 4).to(dtype)
    for value in (tensor, tensor.transpose(0, 2), tensor[:, ::2], tensor[0, 0, 0], tensor[:0], tensor[0, 0, :1:2]):
        back = unpack(pack(value))
        assert back.dtype == dtype and back.shape == value.shape and torch.equal(back, value)
    assert unpack(pack(torch.ones(2, requires_grad=True))).requires_grad


def test_special_values_survive():
    values = [math.nan, -0.0, math.inf, 2**64, -(2**64), 2**13000, "\ud800", np.float64(1.5), np.int8(3), np.True_]
    back = unpack(pack(values))
    assert math.isnan(back[0]) and math.copysign(1, back[1]) == -1 and back[2:7] == values[2:7]
    assert [type(entry) for entry in back[7:]] == [float, int, bool]


class AlwaysEqual(torch.Tensor):
    def __eq__(self, other):
        return True


@pytest.mark.parametrize(
    "value",
    [
        torch.nn.Parameter(torch.ones(2)),
        torch.ones(2).as_subclass(AlwaysEqual),
        torch.ones(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        torch.ones(2, device="meta"),
        np.ma.masked_array([1.0], [True]),
        np.array([{}], dtype=object),
        np.array([1j]),
        object(),
        lambda: 1,
        {1, 2},
        2**100_000,
        np.longdouble(1),
        {torch.ones(1): "0"},
        {(0, torch.ones(1)): "0"},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(NotPlain):
        pack([value])


def test_a_list_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(NotPlain):
        pack(value)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_garbage_is_refused_or_plain(data):
    try:
        value = unpack(data)
    except ProtocolError:
        return
    assert same(unpack(pack(value)), value)


@settings(max_examples=300)
@given(PLAIN, st.data())
def test_a_damaged_message_is_refused_or_plain(value, data):
    message = bytearray(pack(value))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError, NotPlain):
        pack(unpack(bytes(message)))


def forged(tree):
    return msgpack.packb(tree)


@pytest.mark.parametrize(
    "message",
    {
        "array of 4 billion": b"\xdd\xff\xff\xff\xff",
        "text of 4 GB": b"\xdb\xff\xff\xff\xff",
        "arrays that announce more than follows": b"\xdd\x00\x00\xff\xff" * 10_000,
        "nested deep": b"\x91" * 10_000 + b"\x00",
        "too many values": forged([0] * 700_000),
        "extension type": forged(msgpack.ExtType(1, b"x")),
        "timestamp": msgpack.packb(msgpack.Timestamp(1)),
        "map": forged({"a": 1}),
        "container without a tag": forged(["x"]),
        "unknown tag": forged([9, 1]),
        "empty container": forged([]),
        "tensor of 8 TB": forged([3, "float32", False, [2**20, 2**21], b""]),
        "tensor of overflowing shape": forged([3, "float32", False, [2**40, 2**40], b""]),
        "negative shape": forged([3, "float32", False, [-1, -1], b"\0\0\0\0"]),
        "shape of 100 axes": forged([3, "float32", False, [1] * 100, b"\0\0\0\0"]),
        "shape of booleans": forged([3, "float32", False, [True], b"\0\0\0\0"]),
        "too few bytes": forged([3, "float32", False, [4], b"\0"]),
        "unknown dtype": forged([3, "complex64", False, [1], bytes(8)]),
        "layout of axes that are not there": forged([3, "int64", False, [1], bytes(8), [1], False]),
        "layout of an axis twice": forged([3, "int64", False, [1, 1], bytes(8), [0, 0], False]),
        "layout of truth values": forged([3, "int64", False, [1, 1], bytes(8), [False, True], False]),
        "layout without gaps told": forged([4, "<i8", [1], bytes(8), [0]]),
        "layout that is a number": forged([4, "<i8", [1], bytes(8), 0, False]),
        "integers with a gradient": forged([3, "int64", True, [1], bytes(8)]),
        "object array": forged([4, "|O", [1], bytes(8)]),
        "record array": forged([4, "<f4,<f4", [1], bytes(8)]),
        "text beyond Unicode": forged([4, "<U1", [1], b"\xff\xff\xff\xff"]),
        "odd dict": forged([2, 1]),
        "key that is a list": forged([2, [0, 1], 1]),
        "key that is a tensor": forged([2, [3, "int64", False, [], bytes(8)], 1]),
        "dict of too many": forged([2, *range(100_000)]),
        "an integer of 100,000 digits": forged([5, bytes([1] * 50_000)]),
        "two values": b"\x01\x02",
        "nothing": b"",
        "breaks off": forged([0, 1, 2])[:-1],
    }.items(),
    ids=lambda item: item[0],
)
def test_forged_messages_are_refused_quickly(message):
    start = time.process_time()
    with pytest.raises(ProtocolError):
        unpack(message[1])
    assert time.process_time() - start < 2


def test_there_are_only_two_truth_values():
    tensor = unpack(forged([3, "bool", False, [3], b"\x00\x01\x07"]))
    assert tensor.view(torch.uint8).tolist() == [0, 1, 1]
    array = unpack(forged([4, "|b1", [3], b"\x00\x01\x07"]))
    assert array.view(np.uint8).tolist() == [0, 1, 1]


def test_frames_bound_what_they_read():
    here, there = socket.socketpair()
    with here, there:
        protocol.send(here, {"a": (1, None)})
        assert protocol.receive(there, time.monotonic() + 5) == {"a": (1, None)}
        here.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(ProtocolError):
            protocol.receive(there, time.monotonic() + 5)
        with pytest.raises(TimeoutError):
            protocol.receive(there, time.monotonic() + 0.05)
        here.sendall(b"\x00\x00\x00\x05ab")
        here.close()
        with pytest.raises(EOFError):
            protocol.receive(there, time.monotonic() + 5)
