"""Strings of '0' and '1', in which codes are written down, as the bytes of a file."""


def to_bytes(bits: str) -> bytes:
    """Eight bits a byte, the first bit the highest of the first byte; zeros fill up the last byte. '' gives b''."""
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


def from_bytes(data: bytes) -> str:
    """The bits of some bytes, 8 for each; what `to_bytes` filled up is still there."""
    return "".join(f"{byte:08b}" for byte in data)
