"""Hoang's own numbers: what the paper's program found of each mask, and how well the network was trained.

From `summarized_results_main.csv` of VITA-Group/ramanujan-on-pai (commit e0d984f), means over seeds on CIFAR-10, to
five digits. GraSP on VGG-16 from 5% on is at 10% right, and some of its numbers are missing there.
"""

import math

from scipy.stats import spearmanr

NUMBERS = ("mean layer density", "gap", "IMDB")
CHANCE = 0.1  # right on CIFAR-10 by guessing
ROWS = """
resnet34 0.01 ERK 0.06173 0.3396 0.3797 0.81157
resnet34 0.01 GraSP 0.08399 -2.24329 0.92008 0.86157
resnet34 0.01 Rand 0.00995 -0.54381 -0.47175 0.67423
resnet34 0.01 SNIP 0.10393 -4.4498 1.33418 0.86023
resnet34 0.01 SynFlow 0.08314 2.6082 1.7427 0.86263
resnet34 0.01 iterSNIP 0.11664 -1.69686 2.46878 0.86517
resnet34 0.05 ERK 0.19011 2.43071 1.86174 0.87003
resnet34 0.05 GraSP 0.19314 -2.42976 1.71288 0.8715
resnet34 0.05 Rand 0.05004 -0.01877 -0.06568 0.8156
resnet34 0.05 SNIP 0.24794 -7.3945 3.24707 0.8773
resnet34 0.05 SynFlow 0.25363 5.29725 3.23276 0.88133
resnet34 0.05 iterSNIP 0.26058 -4.93343 3.82898 0.88167
resnet34 0.1 ERK 0.31117 5.18201 3.77606 0.87677
resnet34 0.1 GraSP 0.27595 -1.40964 2.46347 0.87257
resnet34 0.1 Rand 0.09995 0.74012 0.31832 0.84243
resnet34 0.1 SNIP 0.3632 -7.50107 5.07734 0.88077
resnet34 0.1 SynFlow 0.36704 8.19427 4.72477 0.88417
resnet34 0.1 iterSNIP 0.37503 -4.66561 5.32579 0.88547
resnet34 0.2 ERK 0.51098 12.1135 8.06903 0.88743
resnet34 0.2 GraSP 0.40022 5.47011 3.84915 0.87537
resnet34 0.2 Rand 0.19969 2.54954 1.11752 0.86453
resnet34 0.2 SNIP 0.53502 -5.88321 7.53246 0.88423
resnet34 0.2 SynFlow 0.52234 14.1729 7.42007 0.88537
resnet34 0.2 iterSNIP 0.53983 -4.39742 7.66081 0.8854
resnet34 0.4 ERK 0.73111 24.0958 20.4491 0.8872
resnet34 0.4 GraSP 0.42735 8.14559 4.27774 0.87617
resnet34 0.4 Rand 0.39938 7.63471 3.1639 0.87383
resnet34 0.4 SNIP 0.79509 11.9366 14.2598 0.88863
resnet34 0.4 SynFlow 0.77375 29.3377 14.3506 0.88793
resnet34 0.4 iterSNIP 0.79506 12.8412 14.217 0.88773
vgg16 0.01 ERK 0.15151 4.80811 4.79475 0.8946
vgg16 0.01 GraSP 0.16608 -16.1089 0.75846 0.9248
vgg16 0.01 Rand 0.00992 -0.47322 -0.43325 0.8203
vgg16 0.01 SNIP 0.15876 -27.6959 0.91777 0.91973
vgg16 0.01 SynFlow 0.2828 2.1841 3.61312 0.9303
vgg16 0.01 iterSNIP 0.20185 -11.9455 4.22428 0.92277
vgg16 0.05 ERK 0.261 6.71853 5.7354 0.92767
vgg16 0.05 GraSP 0.00401 nan 1.831 0.1
vgg16 0.05 Rand 0.04976 0.24238 0.07501 0.89483
vgg16 0.05 SNIP 0.29736 -47.9573 3.05492 0.9313
vgg16 0.05 SynFlow 0.50837 -1.24172 6.44458 0.93763
vgg16 0.05 iterSNIP 0.29114 -30.2366 5.40358 0.93137
vgg16 0.1 ERK 0.39363 10.9977 8.71679 0.9347
vgg16 0.1 GraSP 0.00653 2.2001 nan 0.1
vgg16 0.1 Rand 0.09999 1.26815 0.55815 0.91347
vgg16 0.1 SNIP 0.38062 -58.7937 4.98152 0.9319
vgg16 0.1 SynFlow 0.61164 -8.21829 8.90105 0.93707
vgg16 0.1 iterSNIP 0.4024 -39.3947 6.88562 0.9331
vgg16 0.2 ERK 0.56086 19.1436 14.9147 0.93787
vgg16 0.2 GraSP 0.00646 nan 2.413 0.1
vgg16 0.2 Rand 0.19955 3.73285 1.66785 0.92587
vgg16 0.2 SNIP 0.49239 -69.2933 7.34599 0.935
vgg16 0.2 SynFlow 0.79956 -12.7891 16.3016 0.93803
vgg16 0.2 iterSNIP 0.53693 -49.5826 8.98903 0.93407
vgg16 0.4 ERK 0.77075 35.3674 27.9615 0.9385
vgg16 0.4 GraSP 0.00569 2.2777 1.69859 0.1
vgg16 0.4 Rand 0.39978 11.2217 4.74044 0.93373
vgg16 0.4 SNIP 0.65899 -65.2304 10.9419 0.93503
vgg16 0.4 SynFlow 0.89891 8.44016 26.219 0.93817
vgg16 0.4 iterSNIP 0.69957 -41.8305 12.4514 0.93697
"""  # network, part kept, family, mean layer density (sparsity_mean), gap (rm_mean), IMDB (irm_mean), accuracy
Row = tuple[float, ...]  # the numbers, and the accuracy


def groups() -> dict[tuple[str, float], list[Row]]:
    """The families' rows, by network and part kept."""
    found: dict[tuple[str, float], list[Row]] = {}
    for line in ROWS.strip().splitlines():
        network, kept, _, *values = line.split()
        found.setdefault((network, float(kept)), []).append(tuple(map(float, values)))
    return found


def rho(rows: list[Row], number: int) -> float:
    """Spearman's ρ of one of the numbers with the accuracy, over the families that have it."""
    pairs = [(row[number], row[-1]) for row in rows if not math.isnan(row[number])]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
