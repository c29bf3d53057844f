"""electrons - the electron configuration of an element, as the input of a type-embedding net."""

from __future__ import annotations

import numpy as np

from . import parts

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr "
    "Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
_SHELLS = "1s 2s 2p 3s 3p 4s 3d 4p 5s 4d 5p 6s 4f 5d 6p 7s 5f 6d 7p"  # in the order of filling
ELEMENTS = tuple(_SYMBOLS.split())
_ORBITALS = {"s": 1, "p": 3, "d": 5, "f": 7}
# neutral atoms whose ground state is not what the order of filling says
_EXCEPTIONS = {
    "Cr": "3d5 4s1",
    "Cu": "3d10 4s1",
    "Nb": "4d4 5s1",
    "Mo": "4d5 5s1",
    "Ru": "4d7 5s1",
    "Rh": "4d8 5s1",
    "Pd": "4d10 5s0",
    "Ag": "4d10 5s1",
    "La": "4f0 5d1",
    "Ce": "4f1 5d1",
    "Gd": "4f7 5d1",
    "Pt": "5d9 6s1",
    "Au": "5d10 6s1",
    "Ac": "5f0 6d1",
    "Th": "5f0 6d2",
    "Pa": "5f2 6d1",
    "U": "5f3 6d1",
    "Np": "5f4 6d1",
    "Cm": "5f7 6d1",
    "Ds": "6d9 7s1",
    "Rg": "6d10 7s1",
}


def configuration(element: str) -> dict[str, int]:
    """Electrons in each subshell of the neutral atom."""
    left, electrons = ELEMENTS.index(element) + 1, {}
    for shell in _SHELLS.split():
        electrons[shell] = min(left, 2 * _ORBITALS[shell[1]])
        left -= electrons[shell]
    for part in _EXCEPTIONS.get(element, "").split():
        electrons[part[:2]] = int(part[2:])
    return electrons


def embedding_inputs(type_map: tuple[str, ...]) -> np.ndarray:
    """[types, 118]: of each orbital the spins that are there, 1, or not, -1; rows have length 1."""
    rows = []
    for name in type_map:
        if name not in ELEMENTS:
            raise parts.unsupported(f"an electron configuration of {name!r}", "its type map must name elements")
        electrons, row = configuration(name), []
        for shell in sorted(electrons, key=lambda shell: (shell[0], "spdf".index(shell[1]))):
            orbitals = _ORBITALS[shell[1]]
            pairs = max(0, electrons[shell] - orbitals)  # each orbital gets one electron before any gets two
            for number in range(orbitals):
                row += [1 if number < pairs else -1, 1 if number < electrons[shell] else -1]
        rows.append(row)
    return np.array(rows, dtype=np.float64) / np.sqrt(len(rows[0]))
