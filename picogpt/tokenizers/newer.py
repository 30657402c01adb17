"""Characters that tokenizers leaves alone, since the tables by which it normalizes are those of Unicode 9.

They have a decomposition, a combining class or the property of a mark only in newer versions, up to 17.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

import regex

RANGES = """
558 58B-58C 5C8-5C9 7FD 897-89F 8CA-8D3 9FE AFA-AFF B53-B55 C04 C3C CF3 D00 D3B-D3C D81 EBA ECE 1715 180F 1ABF-1AF0
1CF7 1DF6-1DFA 209D-209F 32FF A7F1-A7F4 A82C A8FF AB69 105C9 105E4 10781-10785 10787-107B0 107B2-107BF 10D24-10D27
10D69-10D6D 10EAB-10EAC 10ECB-10ECF 10EF0-10EFF 10F46-10F50 10F82-10F85 11070 11073-11074 110C2 11145-11146 111C9
111CE-111CF 11241 1133B 11383 11385 1138E 11391 113B8-113C0 113C2 113C5 113C7-113CA 113CC-113D0 113D2 113E1-113E2
1145E 1182C-1183A 11930-11935 11937-11938 1193B-1193E 11940 11942-11943 119D1-119D7 119DA-119E0 119E4 11A01-11A0A
11A33-11A39 11A3B-11A3E 11A47 11A51-11A5B 11A8A-11A99 11B60-11B67 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47
11D8A-11D8E 11D90-11D91 11D93-11D97 11DF0 11EF3-11EF6 11F00-11F01 11F03 11F34-11F3A 11F3E-11F42 11F5A 13440
13447-13455 1611E-1612F 16D68-16D6A 16F4F 16F7F-16F87 16FE4 16FF0-16FF1 1B123-1B126 1CCD6-1CCF9 1CF00-1CF2D
1CF30-1CF46 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F 1D280-1D281 1D6A6 1DF95 1DFCD-1DFFF 1E030-1E06D 1E08F
1E130-1E136 1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5 1F16C 1FBF0-1FBF9
"""


ENDS = [part.split("-") for part in RANGES.split()]
CLASS = "".join(f"\\U{int(ends[0], 16):08x}-\\U{int(ends[-1], 16):08x}" for ends in ENDS)

NEWER = regex.compile(f"([{CLASS}]+)")
MARKS = regex.compile(rf"[[\p{{M}}\u1cf2\u1cf3]--[{CLASS}]]+", regex.VERSION1)  # two were marks in Unicode 9


def normalize(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """One of Unicode's forms of a text, as Unicode 9 has it."""
    parts = NEWER.split(text)  # those at the odd places are left alone
    return "".join(part if i % 2 else unicodedata.normalize(form, part) for i, part in enumerate(parts))
