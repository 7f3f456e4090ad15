"""Films of a drone that looks down on signs, rendered on the spot, with what stands on the signs and where.

A film has a ground with clutter that is no text, signs at some stations, and a camera that hovers over one station
after the other: it drifts, shakes in gusts, darts on to the next, zooms, rolls and tilts. A frame is the mean over the
time of its exposure, so that speed blurs it, plus noise. One pixel of the ground is one of a frame at zoom 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SIZE = (192, 320)  # height and width of a frame, in pixels
RATE = 15  # frames a second
EXPOSURE = 0.5  # part of a frame's time that the shutter is open
SUBSTEPS = 8  # poses a frame
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DEJAVU = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold",
    "DejaVuSans-Oblique", "DejaVuSerif-Italic",
)  # fmt: skip
OTHER_FONTS = ("STIXGeneral", "STIXGeneralBol", "cmr10", "cmss10", "cmtt10", "cmb10")  # never seen in training
SIGNS = """
AIRPORT ALLEY ANCHOR APPLE ARCADE ARENA AUTUMN AVENUE BAKERY BANK BARN BASIN BAY BEACH BELL BIKE BOAT BOOKS BRIDGE
BROOK BUS CABIN CAFE CAMP CANAL CASTLE CHAPEL CHURCH CINEMA CIRCUS CITY CLINIC COAST COFFEE CORNER COURT CREEK
DANGER DEPOT DOCK DOG DRIVE EAST ELM EXIT FACTORY FARM FERRY FIELD FIRE FISH FLOWER FOREST FORT FOUNTAIN GALLERY
GARAGE GARDEN GATE GLASS GREEN GROVE HALL HARBOUR HEIGHTS HILL HOME HORSE HOSPITAL HOTEL ISLAND JETTY JUNCTION
KENNEL KEY KIOSK LAKE LANE LIBRARY LIFT LODGE LOUNGE MARKET MEADOW METRO MILL MINE MOTEL MUSEUM NORTH OAK OFFICE
OPERA ORCHARD PALACE PARK PARKING PATH PHARMACY PIER PLAZA POLICE POND POOL PORT POST PRISON PUB QUAY QUIET RAILWAY
RANCH RIVER ROAD ROCK SALT SAWMILL SCHOOL SHOP SLOW SOUTH SPRING SQUARE STADIUM STATION STOP STREET SUMMIT TAXI
TEMPLE TENNIS THEATRE TICKETS TOWER TOWN TRAIN TUNNEL VALLEY VILLAGE VINEYARD WATER WELL WEST WHARF WINDMILL WINTER
WOOD WORKSHOP YARD ZOO
"""
WORDS = tuple(SIGNS.split())


@dataclass(frozen=True)
class Film:
    """frames: [T, height, width], float32 from 0 to 1. Of each frame the boxes of the texts that are wholly in it,
    [n, 4] pixels (x0, y0, x1, y1), and their words, as many. truth: the words of the film, each once, sorted."""

    frames: Tensor
    boxes: list[Tensor]
    words: list[list[str]]
    truth: list[str]


def film(
    seed: int,
    frames: int = 150,
    fonts: Sequence[str] = DEJAVU,
    stations: int = 9,
    signs: tuple[int, int] = (2, 4),
    size: tuple[int, int] = SIZE,
) -> Film:
    """A flight over so many stations, each with signs, at least and at most so many. size: of a frame, (height, width).

    The same seed gives the same film on the same machine.
    """
    rng = np.random.default_rng([14, seed])
    rows, columns = 2, math.ceil(stations / 2)
    cell_height, cell_width = size[0] + 40, size[1] + 40
    ground = _ground(rng, rows * cell_height + 200, columns * cell_width + 240)
    names = iter(rng.permutation(WORDS).tolist())
    painted: list[tuple[str, np.ndarray]] = []
    centres = []
    for station in range(stations):
        row = station // columns
        column = station % columns if row % 2 == 0 else columns - 1 - station % columns  # there and back
        centre = np.array([120 + (column + 0.5) * cell_width, 100 + (row + 0.5) * cell_height])
        centres.append(centre)
        place = (centre[0] - 115, centre[1] - 62, centre[0] + 115, centre[1] + 62)
        count = rng.integers(signs[0], signs[1], endpoint=True)
        painted += _put_signs(rng, ground, place, [next(names) for _ in range(count)], fonts)
    pictures, boxes, words = _shoot(rng, ground, painted, _flight(rng, np.array(centres), frames), size)
    return Film(pictures, boxes, words, sorted({word for here in words for word in here}))


def snapshots(seed: int, count: int, fonts: Sequence[str] = DEJAVU) -> Film:
    """Frames from as many places of crowded grounds, without a flight, with random letters: what networks learn from.

    One ground serves sixteen frames. `truth` is empty.
    """
    rng = np.random.default_rng([41, seed])
    pictures, boxes, words = [], [], []
    for start in range(0, count, 16):
        ground = _ground(rng, 700, 1000)
        signs = []
        for top, left in np.ndindex(3, 3):
            place = (90 + 270 * left, 60 + 190 * top, 90 + 270 * left + 260, 60 + 190 * top + 180)
            letters = [_random_word(rng) for _ in range(rng.integers(1, 9))]
            signs += _put_signs(rng, ground, place, letters, fonts)
        here = min(16, count - start)
        poses = np.stack([_random_pose(rng, (200, 150), (800, 550)) for _ in range(here)])
        shot = _shoot(rng, ground, signs, poses, SIZE)
        for collected, new in zip((pictures, boxes, words), shot, strict=True):
            collected.append(new)
    return Film(torch.cat(pictures), list(chain(*boxes)), list(chain(*words)), [])


# --- ground and signs -------------------------------------------------------------------------------------------------


def _ground(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A grey landscape: fields and roofs, roads, rows of windows; float32 [height, width]."""
    ground = np.zeros((height, width), np.float32)
    for cells, size in ((8, 0.12), (40, 0.06), (160, 0.03)):
        coarse = rng.standard_normal((math.ceil(cells * height / width) + 1, cells)).astype(np.float32)
        ground += size * np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    image = Image.fromarray((255 * np.clip(0.5 + ground, 0.1, 0.9)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(height * width // 16_000):
        x, y, w, h = *rng.uniform((0, 0), (width, height)), *rng.uniform(12, 90, 2)
        grey = int(rng.integers(30, 225))
        kind = rng.integers(5)
        if kind < 2:  # a roof
            draw.rectangle((x, y, x + w, y + h), fill=grey, outline=int(rng.integers(20, 235)))
        elif kind == 2:  # a road
            angle = rng.uniform(0, math.pi)
            end = (x + 5 * w * math.cos(angle), y + 5 * w * math.sin(angle))
            draw.line((x, y, *end), fill=grey, width=int(rng.integers(2, 12)))
        elif kind == 3:  # windows, or cars in a row
            step = rng.uniform(6, 16)
            for number in range(int(rng.integers(3, 9))):
                left = x + number * step
                draw.rectangle((left, y, left + step * rng.uniform(0.3, 0.7), y + rng.uniform(6, 18)), fill=grey)
        else:  # a tree
            draw.ellipse((x, y, x + w / 2, y + w / 2), fill=grey)
    return np.array(image, np.float32) / 255


@lru_cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of matplotlib's fonts by its file's name."""
    import matplotlib  # here, since labs import this module and most of them draw nothing

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), size)


def _random_word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(LETTERS), rng.integers(3, 9)))


def _put_signs(
    rng: np.random.Generator,
    ground: np.ndarray,
    place: tuple[float, float, float, float],
    words: Sequence[str],
    fonts: Sequence[str],
) -> list[tuple[str, np.ndarray]]:
    """Paint signs into the ground, where none is yet, and give words and boxes of the texts; what finds no room is left
    out. place: (x0, y0, x1, y1) that the signs stay in."""
    found: list[tuple[str, np.ndarray]] = []
    taken: list[tuple[float, float, float, float]] = []
    for word in words:
        face = font(str(rng.choice(fonts)), int(rng.integers(14, 24)))
        left, top, right, bottom = face.getbbox(word)
        edge = int(rng.integers(4, 9))
        width, height = right - left + 2 * edge, bottom - top + 2 * edge
        for _ in range(20):
            room = np.array(place[2:]) - (width, height) - place[:2]
            if room.min() < 0:
                break
            x, y = (np.array(place[:2]) + rng.uniform(size=2) * room).astype(int)
            sign = (x - 4, y - 4, x + width + 4, y + height + 4)
            if all(sign[0] > t[2] or sign[2] < t[0] or sign[1] > t[3] or sign[3] < t[1] for t in taken):
                taken.append(sign)
                dark, bright = rng.uniform(0.05, 0.35), rng.uniform(0.65, 0.95)
                paper, ink = (bright, dark) if rng.random() < 0.5 else (dark, bright)
                panel = Image.new("L", (width, height), int(255 * paper))
                ImageDraw.Draw(panel).text((edge - left, edge - top), word, font=face, fill=int(255 * ink))
                ground[y : y + height, x : x + width] = np.asarray(panel, np.float32) / 255
                found.append((word, np.array([x + edge, y + edge, x + width - edge, y + height - edge], float)))
                break
    return found


# --- camera -----------------------------------------------------------------------------------------------------------


def _random_pose(rng: np.random.Generator, low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Poses [SUBSTEPS, 5] of one frame: x, y, zoom, roll (radians) and pitch, moving at a random speed."""
    speed = rng.choice([0.0, 1.0]) * 10 ** rng.uniform(-0.3, 1.2)  # pixels a frame
    angle = rng.uniform(0, 2 * math.pi)
    start = np.array([*rng.uniform(low, high), rng.uniform(0.8, 1.25), rng.normal(0, 0.06), rng.normal(0, 0.06)])
    motion = np.array([speed * math.cos(angle), speed * math.sin(angle), 0, rng.normal(0, 0.002) * speed, 0])
    return start + np.arange(SUBSTEPS)[:, None] / SUBSTEPS * motion


def _flight(rng: np.random.Generator, centres: np.ndarray, frames: int) -> np.ndarray:
    """Poses [frames, SUBSTEPS, 5] of a flight that hovers over each centre and darts from one to the next."""
    dart = 4  # frames from station to station
    hover = (frames - dart * (len(centres) - 1)) / len(centres)
    if hover < 1:
        raise ValueError(f"{frames} frames are too few for {len(centres)} stations: at least {5 * len(centres)}.")
    time = np.arange(frames * SUBSTEPS) / SUBSTEPS
    station, since = np.divmod(time, hover + dart)
    station = np.minimum(station.astype(int), len(centres) - 1)
    way = np.clip((since - hover) / dart, 0, 1)
    way = way**2 * (3 - 2 * way)
    after = np.minimum(station + 1, len(centres) - 1)
    poses = np.empty((len(time), 5))
    poses[:, :2] = centres[station] * (1 - way[:, None]) + centres[after] * way[:, None]
    levels = np.stack([rng.uniform(0.85, 1.2, len(centres)), *rng.normal(0, 0.05, (2, len(centres)))], axis=1)
    poses[:, 2:] = levels[station] * (1 - way[:, None]) + levels[after] * way[:, None]
    # Gusts: every few frames another strength, in pixels a frame, and the controller pulls the drone back
    strength = np.repeat(10 ** rng.uniform(-0.3, 1.2, frames // 4 + 1), 4 * SUBSTEPS)[: len(time)]
    wind, shake, spin = np.zeros(2), np.zeros(2), 0.0
    for step, (right, down, turn) in enumerate(rng.standard_normal((len(time), 3))):
        wind = 0.85 * wind + math.sqrt(1 - 0.85**2) * np.array([right, down])
        shake = 0.97 * shake + strength[step] / SUBSTEPS * wind
        spin = 0.97 * spin + 0.002 * strength[step] / SUBSTEPS * turn
        poses[step, :2] += shake
        poses[step, 3] += spin
    return poses.reshape(frames, SUBSTEPS, 5)


def _shoot(
    rng: np.random.Generator,
    ground: np.ndarray,
    signs: Sequence[tuple[str, np.ndarray]],
    poses: np.ndarray,
    size: tuple[int, int],
) -> tuple[Tensor, list[Tensor], list[list[str]]]:
    """Frames of a ground, one for each row of poses [n, SUBSTEPS, 5]; and boxes and words of what is wholly in each."""
    source = torch.from_numpy(ground)[None, None]
    extent = torch.tensor([ground.shape[1], ground.shape[0]], dtype=torch.float32)
    light, noise = rng.uniform(0.85, 1.1), rng.uniform(0.004, 0.01)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    pictures = torch.empty(len(poses), *size)
    boxes, words = [], []
    corners = np.array([box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2) for _, box in signs])
    for picture, pose in zip(pictures, poses, strict=True):
        opened = pose[: max(1, round(EXPOSURE * SUBSTEPS))]
        moved = float(np.abs(opened[-1, :2] - opened[0, :2]).sum())
        times = opened[np.linspace(0, len(opened) - 1, 1 if moved < 0.5 else len(opened)).astype(int)]
        if moved > 8:  # closer samples, or one would see several ghosts
            where = np.linspace(0, len(opened) - 1, math.ceil(moved / 2))
            times = np.stack([np.interp(where, range(len(opened)), column) for column in opened.T], axis=1)
        points = torch.stack([_to_ground(torch.from_numpy(each).float(), size) for each in times])
        seen = F.grid_sample(source.expand(len(times), -1, -1, -1), (2 * points + 1) / extent - 1,
                             padding_mode="reflection", align_corners=False)  # fmt: skip
        picture.copy_(seen.mean(dim=(0, 1)))
        middle = opened[len(opened) // 2]
        placed = _to_frame(corners, middle, size) if len(signs) else np.zeros((0, 4, 2))
        low, high = placed.min(axis=1), placed.max(axis=1)
        inside = ((low >= 2) & (high <= (size[1] - 2, size[0] - 2))).all(axis=1)
        boxes.append(torch.from_numpy(np.concatenate([low, high], axis=1)[inside]).float())
        words.append([word for (word, _), is_inside in zip(signs, inside, strict=True) if is_inside])
    pictures *= light
    pictures += noise * torch.randn(pictures.shape, generator=generator)
    return pictures.clamp_(0, 1), boxes, words


@lru_cache
def _pixels(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Column and row of each pixel of a frame, from its centre, [height, width] each."""
    rows, columns = torch.meshgrid(*(torch.arange(side) + 0.5 - side / 2 for side in size), indexing="ij")
    return columns, rows


def _to_ground(pose: Tensor, size: tuple[int, int]) -> Tensor:
    """Where the ray of each pixel meets the ground, [height, width, 2] as (x, y)."""
    x, y, zoom, roll, pitch = pose
    column, row = _pixels(size)
    scale = 1 / (zoom * (1 + pitch * row / size[0]))
    column, row = column * scale, row * scale
    return torch.stack([x + roll.cos() * column - roll.sin() * row, y + roll.sin() * column + roll.cos() * row], dim=-1)


def _to_frame(points: np.ndarray, pose: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The inverse: where points [..., 2] of the ground are in a frame."""
    x, y, zoom, roll, pitch = pose
    right, down = points[..., 0] - x, points[..., 1] - y
    column = zoom * (math.cos(roll) * right + math.sin(roll) * down)
    row = zoom * (math.cos(roll) * down - math.sin(roll) * right)
    row = row / (1 - pitch * row / size[0])
    column = column * (1 + pitch * row / size[0])
    return np.stack([column + size[1] / 2, row + size[0] / 2], axis=-1)
