"""BLEU and NIST of whole texts, as the scripts of the E2E challenge compute them (mteval-v13a, by words).

K. Papineni, S. Roukos, T. Ward and W.-J. Zhu, *BLEU*, ACL 2002. G. Doddington, *Automatic Evaluation of Machine
Translation Quality Using N-gram Co-occurrence Statistics*, HLT 2002. Each candidate is a list of words, its references
a list of such lists.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

Words = Sequence[str]


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def matches(candidate: Words, references: Sequence[Words], n: int) -> Counter[tuple[str, ...]]:
    """The candidate's n-grams that are in a reference, each as often as in the reference that has it most often."""
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= ngrams(reference, n)
    return ngrams(candidate, n) & most


def bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """From 0 to 100: the geometric mean of the precisions of 1- to 4-grams, times the brevity penalty."""
    hit, tried, length, wanted = [0] * 4, [0] * 4, 0, 0
    for candidate, refs in zip(candidates, references, strict=True):
        length += len(candidate)
        # The reference nearest in length, of two the shorter
        wanted += min((abs(len(ref) - len(candidate)), len(ref)) for ref in refs)[1]
        for n in range(1, 5):
            hit[n - 1] += matches(candidate, refs, n).total()
            tried[n - 1] += max(0, len(candidate) - n + 1)
    if not all(hit):
        return 0.0
    precision = math.exp(sum(math.log(h / t) for h, t in zip(hit, tried, strict=True)) / 4)
    return 100 * precision * min(1.0, math.exp(1 - wanted / length))


def nist(candidates: Sequence[Words], references: Sequence[Sequence[Words]], longest: int = 5) -> float:
    """The mean information of matching n-grams, summed over n, times NIST's penalty for short texts."""
    seen: Counter[tuple[str, ...]] = Counter()
    for text in _all(references):
        seen[()] += len(text)
        for n in range(1, longest + 1):
            seen += ngrams(text, n)
    scores, length, wanted = [0.0] * longest, 0, 0.0
    tried = [0] * longest
    for candidate, refs in zip(candidates, references, strict=True):
        length += len(candidate)
        wanted += sum(map(len, refs)) / len(refs)
        for n in range(1, longest + 1):
            found = matches(candidate, refs, n)
            # What the last word adds to those before it, in bits
            scores[n - 1] += sum(times * math.log2(seen[gram[:-1]] / seen[gram]) for gram, times in found.items())
            tried[n - 1] += max(0, len(candidate) - n + 1)
    ratio = min(1.0, length / wanted)
    if ratio == 0:
        return 0.0
    # Two thirds of the length halve the score
    penalty = math.exp(math.log(0.5) / math.log(1.5) ** 2 * math.log(ratio) ** 2)
    return penalty * sum(score / count for score, count in zip(scores, tried, strict=True) if count)


def _all(references: Sequence[Sequence[Words]]) -> Iterator[Words]:
    for refs in references:
        yield from refs
