"""What laws demand of a result: each function raises `LawViolation`, in words a beginner understands, or returns."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from course_utils.plain_data import foreign


class LawViolation(Exception):
    """A law does not hold. `expected` and `got` are shown beside the message, and the latest `calls`."""

    def __init__(self, message: str, expected: Any = None, got: Any = None, calls: int = 1) -> None:
        super().__init__(message)
        self.message, self.expected, self.got, self.calls = message, expected, got, calls


HALVES = (torch.float16, torch.bfloat16)
SHOWN = 12  # entries of a tensor that are written out; of a larger one the first four are


def describe(value: Any, limit: int = SHOWN) -> str:
    """A short, portable text for a value: floats to 4 digits, or as many as tell them from integers, large tensors by
    shape and first entries."""
    match value:
        case Tensor() | np.ndarray():
            name = "tensor" if isinstance(value, Tensor) else "array"
            shape, dtype = list(value.shape), str(value.dtype).removeprefix("torch.")
            if math.prod(shape) <= limit:
                return f"{name}({describe(value.tolist(), limit)}, {dtype})"
            flat = value.flatten()[:4].tolist()
            return f"{name} of shape {shape}, {dtype}, starting {', '.join(describe(x) for x in flat)}, …"
        case bool() | None:
            return repr(value)
        case int() if value.bit_length() > 256:  # repr refuses ints of more than 4,300 digits
            return f"an int of {value.bit_length()} bits"
        case float():
            text = f"{value:.4g}" if abs(value) < 1e16 or not math.isfinite(value) else f"{value:.3e}"
            if not text.lstrip("-").isdigit():
                return text
            more = f"{value:.9g}"  # 1.0000001 is not 1.0, and a law may turn on it
            return f"{text}.0" if more.lstrip("-").isdigit() else more
        case str() | bytes():
            return repr(value) if len(value) <= 60 else f"{value[:60]!r}… ({len(value)} long)"
        case dict():
            items = [f"{describe(k)}: {describe(v, limit // 2)}" for k, v in list(value.items())[:8]]
            return "{" + ", ".join(items) + (", …}" if len(value) > 8 else "}")
        case list() | tuple():
            items = [describe(v, limit // 2) for v in value[: max(limit, 4)]]
            text = ", ".join(items) + (", …" if len(value) > len(items) else "")
            return f"[{text}]" if isinstance(value, list) else f"({text}{',' if len(value) == 1 else ''})"
        case _:
            text = repr(value)
            return text if len(text) <= 80 else text[:80] + "…"


def kind(value: Any) -> str:
    """A beginner's word for a value's type."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    return _with_article((foreign(value) or "tensor") if isinstance(value, Tensor) else type(value).__name__)


def _with_article(name: str) -> str:
    """An int, a uint8."""
    return f"{'an' if name[0] in 'aeiou' and not name.startswith('uint') else 'a'} {name}"


def form(value: Any) -> str:
    """What a value has to look like, in words, without a number in it: what stands in a template is not an answer."""
    match value:
        case Tensor() | np.ndarray():
            dtype = str(value.dtype).removeprefix("torch.")
            name = "tensor" if isinstance(value, Tensor) else "NumPy array"
            shape = f" of shape {list(value.shape)}" if value.ndim else " without axes"
            return f"{_with_article(dtype)} {name}{shape}"
        case Mapping():
            return f"a dict with {', '.join(map(repr, value)) or 'nothing'} in it"
        case list() | tuple():
            return f"{kind(value)} of {len(value)}"
        case float():
            return "a number"
    return kind(value)


# What may stand behind a subject, and in front of none: "after one round" is said of the result
PREPOSITIONS = "after|as|at|before|between|by|for|from|halfway|if|in|of|on|outside|to|under|when|with|within|without"
PLURAL = re.compile(
    r"[^\W_]+(?<![sui])(?<!bia|ard)(?<!['’])(?<!^.)s|radii|indices", re.ASCII
)  # no bias, axis, student's
PLURALS = {"is": "are", "has": "have", "lacks": "lack", "contains": "contain", "differs": "differ", "does": "do"}


def says(what: str, message: str) -> str:
    """A sentence of a subject, which may be plural or only a condition, and of what is said of it in the singular."""
    what = re.sub(r"(?<![\d.,])1 (step|round)s\b", r"1 \1", what)
    if re.match(rf"(?:{PREPOSITIONS})\b", what) and not what.endswith("the result"):
        what = f"the result {what}"
    if re.search(r", [a-z]", re.sub(r"[\[({].*?[\])}]", "", what)) and not what.endswith((",", "the result")):
        what += ","  # after a clause that began with one
    head = re.split(rf" (?:{PREPOSITIONS}|that|which|whose|where)\b|[,:(]", what)[0]
    words = head.removeprefix("the ").split() or [""]
    one = words[0] in ("how", "what", "which", "whose") or what.endswith("the result")
    many = PLURAL.fullmatch(words[-1]) or (head[:4] != "the " and PLURAL.fullmatch(words[0])) or " and " in head
    if many and not one:
        message = re.sub(rf"(^|\band )({'|'.join(PLURALS)})\b", lambda found: found[1] + PLURALS[found[2]], message)
    return f"{what} {message}"


def true(condition: Any, message: str, expected: Any = None, got: Any = None) -> None:
    """The condition holds."""
    if not bool(condition):
        raise LawViolation(message, expected, got)


def same_kind(got: Any, expected: Any, what: str = "the result") -> None:
    """Same type, shape and dtype; lists and tuples count as the same, so do int and float where a float is expected."""

    def refuse(message: str) -> NoReturn:
        raise LawViolation(says(what, message), form(expected), got)

    if got is None:
        refuse("is None: is a `return` missing?")
    if isinstance(expected, Tensor | np.ndarray):
        if type(got) is not type(expected):
            refuse(f"is {kind(got)}, not {kind(expected)}")
        if tuple(got.shape) != tuple(expected.shape):
            refuse(f"has shape {list(got.shape)}, not {list(expected.shape)}")
        if got.dtype != expected.dtype:
            got_dtype, dtype = (str(v.dtype).removeprefix("torch.") for v in (got, expected))
            refuse(f"has dtype {got_dtype}, not {dtype}")
    elif isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple):
            refuse(f"is {kind(got)}, not {kind(expected)}")
        if len(got) != len(expected):
            refuse(f"has {len(got)} entries, not {len(expected)}")
    elif isinstance(expected, Mapping):
        if not isinstance(got, Mapping):
            refuse(f"is {kind(got)}, not a dict")
        if set(got) != set(expected):
            missing, extra = sorted(set(expected) - set(got), key=str), sorted(set(got) - set(expected), key=str)
            parts = [f"lacks {missing}" if missing else "", f"has {extra} too many" if extra else ""]
            refuse(" and ".join(filter(None, parts)))
    elif isinstance(expected, float):
        if isinstance(got, bool) or not isinstance(got, int | float):
            refuse(f"is {kind(got)}, not a number")
    elif type(got) is not type(expected):
        refuse(f"is {kind(got)}, not {kind(expected)}")


def _array(value: Any) -> np.ndarray:
    """A number, an array or a tensor as an array; half precision as float32, for NumPy has no bfloat16."""
    if not isinstance(value, Tensor):
        return np.asarray(value)
    return np.asarray(value.detach().float() if value.dtype in HALVES else value.detach())


def close(
    got: Any, expected: Any, what: str = "the result", rtol: float = 1e-4, atol: float = 1e-6, calls: int = 1
) -> None:
    """Equal up to rounding, entry by entry, after type, shape and dtype. Works through lists, tuples and dicts.

    Where half precision is expected, rtol is at least four units in its last place, unless it is 0.
    Where what is expected comes from the function itself, `calls` says how many of its latest calls are compared: all
    are shown.
    """
    if calls > 1:
        try:
            return close(got, expected, what, rtol, atol)
        except LawViolation as violation:
            text = violation.expected if isinstance(violation.expected, str) else describe(violation.expected)
            violation.expected, violation.calls = f"{text}, by your own function", calls
            raise
    same_kind(got, expected, what)
    if isinstance(expected, Mapping):
        for key in expected:
            if got[key] is not None or expected[key] is not None:
                close(got[key], expected[key], f"{what}[{key!r}]", rtol, atol)
        return
    if isinstance(expected, list | tuple):
        for i, (g, e) in enumerate(zip(got, expected, strict=True)):
            if g is not None or e is not None:  # of None nothing more can be said
                close(g, e, f"{what}[{i}]", rtol, atol)
        return
    if not isinstance(expected, Tensor | np.ndarray | float):
        true(got == expected, says(what, "is wrong"), expected, got)
        return
    if type(got) is type(expected) is float and abs(got - expected) <= atol + rtol * abs(expected) < math.inf:
        return
    g, e = _array(got), _array(expected)
    if rtol and isinstance(expected, Tensor) and expected.dtype in HALVES:
        rtol = max(rtol, 4 * torch.finfo(expected.dtype).eps)
    if g.dtype.kind == e.dtype.kind == "f" and np.isfinite(e).all():
        good = (np.abs(g - e) <= atol + rtol * np.abs(e)).all()  # np.allclose takes four times as long
    else:
        good = np.allclose(g, e, rtol=rtol, atol=atol, equal_nan=True)
    if not good and g.dtype.kind == "f":
        if (np.isnan(g) & ~np.isnan(e.astype(float))).any():
            raise LawViolation(says(what, "contains NaN (not a number)"), expected, got)
        if np.isinf(g).any() and not np.isinf(e).any():
            raise LawViolation(says(what, "contains an infinity"), expected, got)
    if not good:
        raise _difference(got, expected, g, e, what)


def _difference(got: Any, expected: Any, g: np.ndarray, e: np.ndarray, what: str) -> LawViolation:
    """The violation, with as many digits of the worst entry as tell the two apart, and its place among many."""
    if g.dtype.kind not in "biuf":
        return LawViolation(says(what, "is wrong"), expected, got)
    off = np.where(g == e, 0.0, np.nan_to_num(np.abs(g.astype(float) - e.astype(float)), nan=np.inf) + 1e-300)
    place = np.unravel_index(off.argmax(), off.shape)
    right, wrong = e[place].item(), g[place].item()
    alike = describe(right) == describe(wrong)
    texts = describe(right), describe(wrong)
    for digits in range(5, 18) if alike and isinstance(right, float) else ():
        texts = f"{right:.{digits}g}", f"{wrong:.{digits}g}"
        if texts[0] != texts[1]:
            break
    at = f" at [{', '.join(map(str, place))}]"
    if g.size > SHOWN or (alike and g.ndim):  # of many entries only the first are shown
        texts = f"{describe(expected)}; {texts[0]}{at}", f"{describe(got)}; {texts[1]}{at}"
    elif not alike:
        texts = describe(expected), describe(got)
    if not alike:
        place = f", {'first' if e.dtype == bool else 'most of all'}{at}" if g.size > SHOWN else ""
        return LawViolation(says(what, f"is wrong{place}"), *texts)
    message = says(what, f"differs, by up to {off.max():.1g}")
    if e.dtype == np.float64 and 1e-9 < off[place] / abs(right or 1.0) < 1e-6:
        message += ": equal to about 7 digits; was a part of it computed in float32, or a small ε added?"
    return LawViolation(message, *texts)


def equal(got: Any, expected: Any, what: str = "the result", calls: int = 1) -> None:
    """Exactly equal, after type, shape and dtype. `calls` as in `close`."""
    close(got, expected, what, rtol=0.0, atol=0.0, calls=calls)


def finite(got: Any, what: str = "the result") -> None:
    """A float tensor without NaN and infinity."""
    if not isinstance(got, Tensor):
        raise LawViolation(
            says(what, f"is {kind(got)}, not a tensor") + (": is a `return` missing?" if got is None else "")
        )
    if not torch.isfinite(got).all():
        raise LawViolation(says(what, f"contains {'NaN' if got.isnan().any() else 'an infinity'}"), got=got)


def scalar(got: Any, what: str = "the result") -> None:
    """A tensor with no axes, as a loss is."""
    same_kind(got, torch.zeros((), dtype=got.dtype if isinstance(got, Tensor) else torch.float32), what)


def gradient(result: Tensor, wrt: Tensor | Sequence[Tensor], what: str = "the result") -> Any:
    """The gradient of a scalar result (its sum, otherwise) by `wrt`; a violation if there is none."""
    single = isinstance(wrt, Tensor)
    if not isinstance(result, Tensor):
        raise LawViolation(says(what, f"is {kind(result)}, not a tensor"), got=result)
    if not result.requires_grad:
        raise LawViolation(
            says(
                what,
                "cannot be differentiated: something cut it off from its input (.detach(), .item(), .data, no_grad)",
            )
        )
    gradients = torch.autograd.grad(result.sum(), [wrt] if single else list(wrt), allow_unused=True)
    if any(g is None for g in gradients):
        raise LawViolation(says(what, "does not depend on an input that it should depend on"))
    return gradients[0] if single else list(gradients)


def no_gradient(result: Tensor, wrt: Tensor, message: str) -> None:
    """No gradient flows from the result into `wrt` (a zero gradient counts as none)."""
    if not isinstance(result, Tensor) or not result.requires_grad:
        return
    (found,) = torch.autograd.grad(result.sum(), wrt, allow_unused=True, retain_graph=True)
    if found is not None and bool((found != 0).any()):
        raise LawViolation(message, expected="no gradient", got=found)
