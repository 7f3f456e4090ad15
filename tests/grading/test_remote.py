"""A function in the sandbox behaves, for the laws, as it would beside them."""

import select
import selectors
import socket
import time

import numpy as np
import pytest
import torch

from course_utils.checks import expect
from course_utils.checks.engine import Exercise, StudentError, run
from course_utils.grading.child import Died, Limits
from course_utils.grading.protocol import pack
from course_utils.grading.remote import AHEAD_CALLS, RemoteFunction
from course_utils.plain_data import clone, laid_out_otherwise, same

CELLS = """
import numpy as np
import torch
from torch import Tensor

def echo(*args, **kwargs):
    return [list(args), kwargs]

def square(x):
    return x * x

def two(x, y):
    return {"product": x * y, "detached": x.detach(), "count": 3, "sum": (x.sum(), 1)}

def spoil(tensor, array, entries, names):
    tensor.add_(1)
    array[0] = 7
    entries.append(4)
    entries[0] = None
    names["new"] = 1
    del names["old"]

def reshape_in_place(x):
    x.unsqueeze_(0)

def detach_in_place(x):
    x.detach_()

def require(x):
    x.requires_grad_()

def keep(x):
    return {"same": x}

def strides(x, y):
    return [list(x.stride()), list(y.strides)]

def text_hash(x):
    return hash("name") - hash("name"), hash(1), hash("name")

def careful(x):
    x = x.clone()
    x += 1
    return x

def own_parameter(x):
    return torch.nn.Parameter(torch.ones(2)) * 2

def parameter(x):
    return torch.nn.Parameter(torch.ones(2))

def generator(x):
    yield x

def sparse(x):
    return {"a": x.to_sparse()}

def compressed(x):
    return x.to_sparse_csr()

def nested(x):
    return [torch.nested.nested_tensor([x, x[:1]])]

def elsewhere(x):
    return x.to("meta")

def turned(x):
    return 1j * x

def fails(x):
    y = x + 1
    raise KeyError(f"no {y}")

def prints(x):
    print("value", x)
    return x

def calls_exit(x):
    raise SystemExit(3)

def numbers(x):
    return np.float32(2.5), np.int64(3), np.True_

class Odd(Exception):
    def __str__(self):
        raise RuntimeError

def odd_error(x):
    raise Odd
"""
NAMES = ["echo", "square", "two", "spoil", "reshape_in_place", "careful", "own_parameter", "parameter", "generator"]
NAMES += ["fails", "prints", "calls_exit", "numbers", "odd_error", "nested", "compressed", "elsewhere", "turned"]
NAMES += ["detach_in_place", "require", "keep", "strides", "text_hash", "sparse"]


@pytest.fixture
def remote(sandbox):
    with sandbox.submission() as child:
        child.request(op="load", cells=[CELLS], secondary=[], names=NAMES)

        def make(name):
            assert child.request(op="define", name=name)["callable"] is True
            return RemoteFunction(child, name)

        yield make


def test_values_go_there_and_back(remote):
    value = [{"w": torch.randn(2, 3), 4: (None, True)}, np.arange(3), "text", b"bytes", 2**70, 1.5, float("nan")]
    assert same(remote("echo")(*value, k=1), [value, {"k": 1}])
    assert remote("numbers")(1) == (2.5, 3, True)


def test_gradients_are_those_of_the_function(remote):
    square, two = remote("square"), remote("two")
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(square(x.clone()).sum(), x)
    assert torch.allclose(gradient, 2 * x.detach())
    result = two(x.clone(), y.clone())
    assert not result["detached"].requires_grad and result["sum"][0].requires_grad and result["count"] == 3
    gx, gy = torch.autograd.grad((result["product"] * torch.arange(3)).sum() + result["sum"][0], [x, y])
    assert torch.allclose(gx, y.detach() * torch.arange(3) + 1) and torch.allclose(gy, x.detach() * torch.arange(3))
    # A result that depends on one argument only has no gradient by the other
    again = two(x.clone(), y.clone())["sum"][0]
    assert torch.autograd.grad(again, y, allow_unused=True) == (None,)
    # The law's own operations before and after belong to the same graph
    (through,) = torch.autograd.grad((square(3 * x) ** 2).sum(), x)
    assert torch.allclose(through, 4 * 81 * x.detach() ** 3)


def test_what_needs_no_gradient_has_none(remote):
    assert not remote("square")(torch.ones(2)).requires_grad
    assert remote("own_parameter")(torch.ones(2)).requires_grad
    x = torch.ones(2, requires_grad=True)
    result = remote("own_parameter")(x.clone())
    assert torch.autograd.grad(result.sum(), x, allow_unused=True) == (None,)


def test_changes_in_place_are_seen(remote):
    tensor, array, entries, names = torch.zeros(2), np.zeros(2), [1, 2], {"old": 0, "kept": 1}
    before = clone((tensor, array, entries, names))
    remote("spoil")(tensor, array, entries, names)
    assert tensor.tolist() == [1, 1] and array.tolist() == [7, 0]
    assert entries == [None, 2, 4] and names == {"kept": 1, "new": 1}
    assert not any(map(same, before, (tensor, array, entries, names)))
    x = torch.zeros(2)
    remote("reshape_in_place")(x)
    assert x.shape == (1, 2)
    y = torch.zeros(2, requires_grad=True).clone()
    assert remote("careful")(y).tolist() == [1, 1] and y.tolist() == [0, 0]


def test_errors_bring_their_line(remote):
    with pytest.raises(StudentError) as caught:
        remote("fails")(1)
    assert (caught.value.kind, caught.value.text) == ("KeyError", "'no 2'")
    assert caught.value.line == 'raise KeyError(f"no {y}")'
    with pytest.raises(StudentError, match="SystemExit: 3"):
        remote("calls_exit")(1)
    with pytest.raises(StudentError, match="Odd"):
        remote("odd_error")(1)


def test_what_is_not_plain_keeps_its_name(remote):
    assert type(remote("parameter")(1)).__name__ == "Parameter"
    assert type(remote("generator")(1)).__name__ == "generator"
    assert type(remote("nested")(torch.ones(2))).__name__ == "nested float32 tensor"
    assert remote("square")(3) == 9


def test_prints_are_shown(remote, capsys):
    assert remote("prints")(3) == 3
    assert capsys.readouterr().out == "value 3\n"


def test_it_sees_arguments_as_they_lie_in_memory(remote):
    tensor, array = torch.arange(24.0).view(2, 3, 4), np.arange(6).reshape(2, 3)
    for x, y in (
        (tensor, array),
        (tensor.permute(2, 0, 1), array.T),
        (tensor[0].t(), np.asfortranarray(array)),
        laid_out_otherwise((tensor, array)),
    ):
        assert remote("strides")(x, y) == [list(x.stride()), list(y.strides)]
        assert same(remote("echo")(x, y)[0], [x, y])
    assert remote("echo")(tensor[:, :2], array[:, ::-1])[0][1].tolist() == array[:, ::-1].tolist()


def test_what_shares_memory_with_an_argument_is_known(remote):
    x = torch.ones(3)
    for name, shared in (("echo", True), ("keep", True), ("careful", False), ("square", False)):
        function = remote(name)
        function(x)
        assert function.shares is shared, name


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "name,words",
    [
        ("sparse", "sparse_coo float32"),
        ("compressed", "sparse_csr float32"),
        ("nested", "nested float32"),
        ("elsewhere", "meta float32"),
        ("turned", "complex64"),
    ],
)
def test_a_strange_tensor_is_refused_in_the_same_words_here_and_there(remote, name, words, fresh):
    exercise = Exercise("9.9", name, points=1, minutes=1, difficulty=1, fresh=fresh)

    @exercise.law("is the argument")
    def is_argument(function, draw):
        x = draw.normal(3, 3)
        expect.equal(function(x), x)

    namespace = {}
    exec(CELLS, namespace)
    here, there = (run(exercise, function) for function in (namespace[name], remote(name)))
    assert not here.passed and f"returned a {words} tensor, which is not plain data" in str(here)
    assert [law.message for law in here.laws] == [law.message for law in there.laws]


def test_a_change_of_requires_grad_is_seen(remote):
    x, plain = torch.ones(3, requires_grad=True).clone(), torch.ones(3)
    remote("detach_in_place")(x)
    remote("require")(plain)
    assert not x.requires_grad and plain.requires_grad


def test_the_hash_of_a_text_is_another_at_each_call(remote):
    function = remote("text_hash")
    first, second = function(0), function(0)
    assert first[:2] == second[:2] == (0, hash(1)) and first[2] != second[2]


def test_a_dead_process_stays_dead(sandbox, depth):
    code = "import os\ndef f(x):\n    os._exit(0)\ndef g(x):\n    while True:\n        pass"
    for name, fate in (("f", "crashed"), ("g", "timed out")):
        with sandbox.submission() as child:
            child.limits = Limits(call=depth(1, 3), patience=20)
            child.request(op="load", cells=[code], secondary=[], names=["f", "g"])
            child.request(op="define", name=name)
            function = RemoteFunction(child, name)
            start = time.monotonic()
            for _ in range(3):
                with pytest.raises(StudentError):
                    function(1)
            assert child.died.fate == fate
            assert time.monotonic() - start < child.limits.patience * child.limits.call + 2
            with pytest.raises(Died):
                child.request(op="define", name="f")


def foresee(*calls):
    return [pack([args, {}]) for args in calls]


def test_foreseen_calls_are_answered_by_the_function_all_the_same(sandbox):
    """Whatever was foreseen: other arguments, another order, calls left out, gradients and changes in between."""
    tensors = [torch.full((3,), float(i), requires_grad=i % 2 == 1) for i in range(60)]
    foreseen = foresee(*((t,) for t in tensors))
    with sandbox.submission() as child:
        child.request(op="load", cells=[CELLS], secondary=[], names=NAMES)
        child.request(op="define", name="square")
        function = RemoteFunction(child, "square", foreseen)
        for i in [0, 1, 2, 2, 7, 7, 5, 8, 40, 41, 3, 59, 0]:
            result = function(tensors[i])
            assert result.tolist() == [i * i] * 3, i
            if i % 2:
                (gradient,) = torch.autograd.grad(result.sum(), tensors[i])
                assert gradient.tolist() == [2 * i] * 3
            assert function(torch.tensor([-1.0])).tolist() == [1.0]
        assert len(function.replies) + len(function.underway) <= AHEAD_CALLS


@pytest.mark.parametrize("buffer", [None, 8_192])  # what macOS gives a socket
@pytest.mark.parametrize("size", [1_000, 4_000, 7_500, 16_000, 50_000])
def test_large_foreseen_calls_do_not_block(sandbox, size, buffer):
    """Requests and replies beyond what the sockets hold, both ways at once."""
    calls = [(torch.full((size,), float(i)),) for i in range(12)]
    code = "def many(x):\n    return [x * x] * 12"
    with sandbox.submission() as child:
        if buffer:
            child.channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        child.request(op="load", cells=[code], secondary=[], names=["many"])
        child.request(op="define", name="many")
        function = RemoteFunction(child, "many", foresee(*calls))
        for (tensor,) in calls:
            assert all(torch.equal(result, tensor * tensor) for result in function(tensor))


def test_death_among_foreseen_calls(sandbox):
    code = "import os\ndef f(x):\n    if x == 3: os._exit(0)\n    return x"
    with sandbox.submission() as child:
        child.request(op="load", cells=[code], secondary=[], names=["f"])
        child.request(op="define", name="f")
        function = RemoteFunction(child, "f", foresee(*((i,) for i in range(6))))
        assert [function(i) for i in range(3)] == [0, 1, 2]
        for i in (3, 4, 99):
            with pytest.raises(StudentError, match="Crash"):
                function(i)
        assert child.died.fate == "crashed"


def test_what_was_answered_before_a_death_is_read(sandbox):
    """However slow this side is: with the process gone, a request cannot be sent, but replies lie there."""
    code = "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x"
    with sandbox.submission() as child:
        child.request(op="load", cells=[code], secondary=[], names=["f"])
        child.request(op="define", name="f")
        calls = [
            dict(op="call", id=i, name="f", arguments=arguments) for i, arguments in enumerate(foresee((0,), (1,)))
        ]
        for call in calls:
            child.post(**call)
        gone = select.poll()
        gone.register(child.channel, select.POLLHUP)
        assert gone.poll(20_000)
        child.post(**calls[0])
        assert child.reply(1)["value"] == 0
        with pytest.raises(Died):
            child.reply(1)


FIND_SOCKET = """
import os, stat
def channel():
    for fd in range(3, 128):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return fd
        except OSError:
            pass
"""


def test_who_answers_without_reading_is_found_out(sandbox):
    """Its requests would pile up on this side."""
    code = (
        "import msgpack, struct\ndef f(x):\n    os.set_blocking(channel(), True)\n"
        "    data = msgpack.packb([2, 'value', 1])\n"
        "    while True: os.write(channel(), struct.pack('>I', len(data)) + data)"
    )
    with sandbox.submission() as child:
        child.request(op="load", cells=[FIND_SOCKET + code], secondary=[], names=["f"])
        child.request(op="define", name="f")
        function = RemoteFunction(child, "f")
        with pytest.raises(StudentError, match="not read"):
            for _ in range(5):
                function(torch.zeros(2**21, dtype=torch.int8))
        assert len(child.unsent) < 2**23


def test_an_early_byte_buys_no_time(sandbox):
    """A reply that has begun is no sign that the work is done."""
    code = """
import time
from course_utils.grading import protocol
def f(x):
    os.write(channel(), bytes(1))
    class Header:
        size = 4
        def pack(length):
            return length.to_bytes(4, "big")[1:]
    protocol.HEADER = Header
    end = time.process_time() + 3
    while time.process_time() < end: pass
"""
    with sandbox.submission() as child:
        child.limits = Limits(call=1, patience=12)
        child.request(op="load", cells=[FIND_SOCKET + code], secondary=[], names=["f"])
        child.request(op="define", name="f")
        with pytest.raises(StudentError, match="no answer within"):
            RemoteFunction(child, "f")(1)


def test_it_waits_where_only_select_is_there(sandbox, monkeypatch):
    """As on Windows."""
    monkeypatch.delattr(select, "poll")
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    with sandbox.submission() as child:
        child.request(op="load", cells=[CELLS], secondary=[], names=NAMES)
        child.request(op="define", name="square")
        assert RemoteFunction(child, "square")(3) == 9


def test_what_was_sent_ahead_in_vain_disturbs_nobody(sandbox):
    """A law that fails early leaves calls under way; the next exercise shall not read their replies."""
    with sandbox.submission() as child:
        child.request(op="load", cells=[CELLS], secondary=[], names=NAMES)
        child.request(op="define", name="numbers")
        first = RemoteFunction(child, "numbers", foresee(*((i,) for i in range(40))))
        assert first(0) == (2.5, 3, True) and first.underway
        first.finish()
        assert child.request(op="define", name="echo")["callable"] is True
        assert RemoteFunction(child, "echo")(1) == [[1], {}]
